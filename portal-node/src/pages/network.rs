//! The network as this portal sees it: a picture, and the same as a table with each peer's lag
//! over the last day. Whatever the picture says by colour it says by shape and word too.

use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};
use node::{host::SessionView, transport::Transport};

use super::{
    Here, broken,
    drawing::{anchor, picture},
    layout::page,
    words,
};
use crate::{
    door::{asked::Asked, pass::Officer},
    lag::SLOTS,
    lang::Lang,
    network::{self, Health, Peer},
    office::now_ms,
    portal::Portal,
};

/// Peers in the table.
const ROWS_MAX: usize = 500;

/// `GET /ufficio/rete`
pub async fn show(portal: Arc<Portal>, who: Officer, _: Asked) -> Response {
    let lang = who.lang();
    let peers = match network::peers(&portal).await {
        Ok(peers) => peers,
        Err(error) => return broken(lang, &error),
    };
    let now = now_ms();
    let count = |health| peers.iter().filter(|peer| peer.health() == health).count();
    let body = html! {
        ul.counts {
            @for health in [Health::Even, Health::Behind, Health::Away, Health::Suspended] {
                li { strong { (count(health)) } " " (sign(health)) " " (word(lang, health)) }
            }
        }
        section.panel aria-labelledby="figura" {
            h2 id="figura" { (lang.t("Figura", "Picture")) }
            div.scroll { (picture(lang, &portal.door.name, &peers)) }
            p.hint {
                (lang.t("Ogni linea è una connessione aperta: continua se porta i dati, tratteggiata se è di riserva. \
                    Le linee dell'altro portale le mostra l'altro portale.",
                    "Each line is an open connection: solid where data goes, dashed where it stands by. \
                    The other portal shows its own lines."))
            }
        }
        section.panel aria-labelledby="tabella" {
            h2 id="tabella" { (lang.t("Tabella", "Table")) }
            @if peers.is_empty() {
                p { (lang.t("Ancora nessuno: i nodi compaiono quando un cliente è abilitato.",
                    "Nobody yet: nodes appear once a customer is enabled.")) }
            } @else {
                div.scroll { table.dense {
                    thead { tr {
                        th scope="col" { (lang.t("Chi", "Who")) }
                        th scope="col" { (lang.t("Stato", "State")) }
                        th scope="col" { (lang.t("Linee", "Lines")) }
                        th.num scope="col" { (lang.t("Gli mancano", "It misses")) }
                        th.num scope="col" { (lang.t("Ci mancano", "We miss")) }
                        th scope="col" { (lang.t("Ritardo nelle 24 ore", "Lag over 24 hours")) }
                    } }
                    tbody { @for peer in peers.iter().take(ROWS_MAX) {
                        (row(lang, peer, &portal.lags.of(&peer.pin, now)))
                    } }
                } }
                @if peers.len() > ROWS_MAX {
                    p { (lang.t("Gli altri stanno bene: ", "The others are well: ")) (peers.len() - ROWS_MAX) }
                }
                p.hint {
                    (lang.t("Si contano i messaggi firmati che uno ha e l'altro non ancora. Il ritardo è il peggiore di ogni \
                        cinque minuti, da quando questo portale è acceso.",
                        "Counted are signed messages that one has and the other not yet. The lag is the worst of each \
                        five minutes, since this portal was started."))
                }
            }
        }
    };
    page(&portal, &who, Here::Network, lang.t("Rete", "Network"), &body)
}

fn row(lang: Lang, peer: &Peer, day: &[Option<u32>]) -> Markup {
    let health = peer.health();
    html! {
        tr id=(anchor(peer)) {
            td.nowrap {
                @if let Some(vat) = peer.tenant { a href={ "/ufficio/clienti/" (vat) } { (peer.name) } br; (vat) br; }
                @else { (title(lang, peer)) br; }
                code { (words::pin(&peer.pin)) }
            }
            td.nowrap { span.badge.(tone(health)) { (sign(health)) " " (word(lang, health)) } }
            td.nowrap { @for session in &peer.sessions { (line(lang, session)) br; } }
            td.num { (peer.misses) }
            td.num { (peer.brings) }
            td { (curve(lang, day)) }
        }
    }
}

/// What a peer is called.
pub(super) fn title(lang: Lang, peer: &Peer) -> String {
    match (peer.is_portal, peer.name.is_empty()) {
        (true, _) => format!("{} {}", lang.t("Portale", "Portal"), peer.name),
        (false, true) => format!("{} {:.8}", lang.t("Nodo", "Node"), peer.pin.to_string()),
        (false, false) => peer.name.clone(),
    }
}

/// One line in words: from where, how, how fast.
pub(super) fn line(lang: Lang, session: &SessionView) -> String {
    let transport = match session.transport {
        Transport::Quic => "QUIC",
        Transport::Tcp => "TCP",
    };
    let role = if session.primary {
        lang.t("porta i dati", "carries data")
    } else {
        lang.t("di riserva", "stands by")
    };
    let mut text = format!("{} · {transport} · {role}", session.remote.ip());
    if let Some(rtt) = session.rtt {
        text += &format!(" · {:.0} ms", rtt.as_secs_f64() * 1000.0);
    }
    text
}

/// A sign that goes with a state, besides its colour.
pub(super) fn sign(health: Health) -> &'static str {
    match health {
        Health::Even => "●",
        Health::Behind => "▲",
        Health::Away => "✕",
        Health::Suspended => "❚❚",
    }
}

/// The word for a state.
pub(super) fn word(lang: Lang, health: Health) -> &'static str {
    match health {
        Health::Even => lang.t("in pari", "even"),
        Health::Behind => lang.t("in ritardo", "behind"),
        Health::Away => lang.t("non collegato", "not connected"),
        Health::Suspended => lang.t("sospeso", "suspended"),
    }
}

/// The colour that goes with a state.
pub(super) fn tone(health: Health) -> &'static str {
    match health {
        Health::Even => "good",
        Health::Behind => "wait",
        Health::Away => "bad",
        Health::Suspended => "todo",
    }
}

/// The lag of a day as bars, with its worst in words.
fn curve(lang: Lang, day: &[Option<u32>]) -> Markup {
    let Some(worst) = day.iter().flatten().max() else {
        return html! { (lang.t("ancora niente", "nothing yet")) };
    };
    let scale = f64::from(*worst).max(1.0);
    let mut path = String::new();
    for (x, value) in day.iter().enumerate() {
        if let Some(value) = value {
            // A baseline where somebody looked and nothing was missing: unlike nobody looking.
            path += &format!("M{x} 29v-{:.1}", 1.0 + f64::from(*value) / scale * 26.0);
        }
    }
    let said = format!("{} {worst}", lang.t("al massimo", "at most"));
    html! {
        svg.day viewBox={ "0 0 " (SLOTS) " 30" } width="200" height="30" preserveAspectRatio="none" role="img" aria-label=(said) {
            path.axis d={ "M0 29.5h" (SLOTS) } {}
            path.bars d=(path) {}
        }
        div.hint { (said) }
    }
}
