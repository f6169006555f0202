//! Who logged in here and has not left: kept in memory, by the hash of the cookie's secret.
//!
//! A session is of one portal, one certificate and one password: the other portal asks for the
//! password again, and a new password ends every session that the old one began.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use engine::id::{PeerId, VatNumber};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use sha2::{Digest as _, Sha256};

/// A session nobody used for so long ends.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends after a working day however much it is used.
pub const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Sessions at a time; above it the one used longest ago ends.
const SESSIONS_MAX: usize = 10_000;

/// Names a session without giving its secret away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who.
    pub user: String,
    /// With which certificate.
    pub peer: PeerId,
    /// For which P.IVA.
    pub tenant: VatNumber,
    /// The digest of the password's hash as it was kept when the session began.
    pub stamp: [u8; 32],
    begun: Instant,
    used: Instant,
}

/// The sessions of this portal.
pub struct Sessions {
    key: hmac::Key,
    open: Mutex<HashMap<SessionId, Session>>,
}

/// No random source: nothing secret can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandom;

/// Draws a secret of 32 bytes, as 64 hexadecimal digits.
///
/// # Errors
/// [`NoRandom`]
pub fn secret() -> Result<String, NoRandom> {
    Ok(hex(&random::<32>()?))
}

/// Draws a code of 8 digits.
///
/// # Errors
/// [`NoRandom`]
pub fn code() -> Result<String, NoRandom> {
    Ok(format!("{:08}", u64::from_be_bytes(random()?) % 100_000_000))
}

/// SHA-256, under which a secret is kept.
#[must_use]
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Lowercase hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

impl Sessions {
    /// None yet.
    ///
    /// # Errors
    /// [`NoRandom`]
    pub fn new() -> Result<Self, NoRandom> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self { key: key.map_err(|_| NoRandom)?, open: Mutex::default() })
    }

    /// Begins a session. Returns the cookie's secret.
    ///
    /// # Errors
    /// [`NoRandom`]
    pub fn begin(
        &self,
        user: &str,
        peer: PeerId,
        tenant: VatNumber,
        stamp: [u8; 32],
        now: Instant,
    ) -> Result<String, NoRandom> {
        let secret = secret()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.lives(now));
        if open.len() >= SESSIONS_MAX
            && let Some(oldest) =
                open.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id)
        {
            open.remove(&oldest);
        }
        let session = Session { user: user.to_owned(), peer, tenant, stamp, begun: now, used: now };
        open.insert(SessionId(digest(&secret)), session);
        Ok(secret)
    }

    /// The session of a cookie's secret, which counts as used now.
    pub fn find(&self, secret: &str, now: Instant) -> Option<(SessionId, Session)> {
        let id = SessionId(digest(secret));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get_mut(&id)?;
        if !session.lives(now) {
            open.remove(&id);
            return None;
        }
        session.used = now;
        Some((id, session.clone()))
    }

    /// Ends a session.
    pub fn end(&self, id: &SessionId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The session is for another P.IVA from now on. The caller has checked the right to it.
    pub fn turn_to(&self, id: &SessionId, tenant: VatNumber) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = open.get_mut(id) {
            session.tenant = tenant;
        }
    }

    /// The password of a session's user was changed in it: it goes on.
    pub fn restamp(&self, id: &SessionId, stamp: [u8; 32]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = open.get_mut(id) {
            session.stamp = stamp;
        }
    }

    /// The token that a form of this session must bring back.
    #[must_use]
    pub fn token(&self, id: &SessionId) -> String {
        self.mark(b"session", &id.0)
    }

    /// The same for somebody known by certificate only.
    #[must_use]
    pub fn visitor_token(&self, peer: &PeerId) -> String {
        self.mark(b"visitor", peer.as_bytes())
    }

    /// Whether a session is open. It does not count as used.
    #[must_use]
    pub fn has(&self, id: &SessionId) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id).is_some_and(|session| session.lives(Instant::now()))
    }

    /// What a comparison of `password` with the hash `kept` is remembered by.
    #[must_use]
    pub fn compared(&self, user: &str, password: &str, kept: &str) -> String {
        let lengths = format!("{}/{}/", user.len(), password.len());
        self.mark(b"compared", [lengths.as_str(), user, password, kept].concat().as_bytes())
    }

    fn mark(&self, what: &[u8], bytes: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(what);
        context.update(&[0]);
        context.update(bytes);
        hex(context.sign().as_ref())
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.duration_since(self.used) < IDLE && now.duration_since(self.begun) < LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_rest_by_age_and_by_word() {
        let sessions = Sessions::new().unwrap();
        let (peer, start) = (PeerId::of_spki(b"key"), Instant::now());
        let tenant = VatNumber::parse("02038490237").unwrap();
        let begin = || sessions.begin("rossi", peer, tenant, [1; 32], start).unwrap();
        let secret = begin();
        assert_eq!(sessions.find(&secret, start + IDLE / 2).unwrap().1.user, "rossi");
        assert!(sessions.find(&secret, start + IDLE / 2 + IDLE).is_none());
        let secret = begin();
        let mut now = start;
        while now < start + LIFE {
            assert!(sessions.find(&secret, now).is_some());
            now += IDLE / 2;
        }
        assert!(sessions.find(&secret, now).is_none());
        let secret = begin();
        let (id, _) = sessions.find(&secret, start).unwrap();
        sessions.end(&id);
        assert!(sessions.find(&secret, start).is_none());
        assert!(sessions.find("guess", start).is_none());
    }
}
