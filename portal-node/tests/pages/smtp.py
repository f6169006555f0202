"""A mail server for the tests: TLS, a log-in, and a folder in which letters lie.

smtp.py FOLDER PORT CERTIFICATE KEY implicit|starttls. It takes letters from `portale` only, and none
for an address that begins with `nessuno@`.
"""

import asyncio
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder, port, certificate, key, way = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


class Letters:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nessuno@"):
            return "550 5.1.1 no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        count = len(list(pathlib.Path(folder).iterdir()))
        path = pathlib.Path(folder, f"{count:03}.eml")
        head = f"{session.auth_data} {envelope.mail_from} {envelope.rcpt_tos}\n"
        path.with_suffix(".half").write_bytes(head.encode() + envelope.content)
        path.with_suffix(".half").rename(path)
        return "250 taken"


def may_come(server, session, envelope, mechanism, given):
    right = (given.login, given.password) == (b"portale", b"segreto di prova")
    return AuthResult(success=right, handled=False, auth_data="portale")


def protocol():
    starttls = {"tls_context": context, "require_starttls": True} if way == "starttls" else {}
    return SMTP(
        Letters(),
        authenticator=may_come,
        auth_required=True,
        auth_require_tls=way == "starttls",
        hostname="localhost",
        **starttls,
    )


async def serve():
    implicit = context if way == "implicit" else None
    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", int(port), ssl=implicit
    )
    await server.serve_forever()


asyncio.run(serve())
