//! Who comes in. The values here can be made only here, after every check, and a handler takes
//! one of them: there is no page without.
//!
//! At every request: the certificate of the TLS session must be bound to a P.IVA, not ended
//! and not expired; the account must exist, be open and have that P.IVA; the password must
//! have been given, and be the one that is kept now. All of it is read from the truth, so a
//! revocation counts on connections that were open before.

use std::{net::IpAddr, ops::Deref, sync::Arc, time::Instant};

use engine::{
    document::account::AccountRole,
    id::{OFFICE, PeerId, VatNumber},
    record::AccountRecord,
};

use super::{
    asked::Asked,
    sessions::{SessionId, digest},
    throttle::Key,
};
use crate::{lang::Lang, portal::Portal};

/// Why somebody does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No certificate, or one that is bound to nobody: told in the same words.
    Certificate,
    /// Nobody is logged in.
    Login,
    /// The wrong user, password, or certificate for that user: told in the same words.
    Wrong,
    /// Too many failures: wait so many seconds.
    Wait(u64),
    /// The customer is suspended.
    Suspended,
    /// Not theirs, or not there: told in the same words.
    NotFound,
    /// The form is not one that this portal gave to this session.
    Form,
    /// The truth cannot be read.
    Unavailable,
}

/// Somebody whose certificate may come in.
#[derive(Clone, Debug)]
pub struct Visitor {
    peer: PeerId,
    tenants: Vec<VatNumber>,
    address: IpAddr,
    token: String,
    lang: Lang,
}

/// A person: certificate and password, for one P.IVA.
#[derive(Clone, Debug)]
pub struct Caller {
    visitor: Visitor,
    account: Arc<AccountRecord>,
    tenant: VatNumber,
    role: AccountRole,
    session: Option<SessionId>,
    token: String,
}

/// A person of the intermediary: a [`Caller`] in the office.
#[derive(Clone, Debug)]
pub struct Officer(Caller);

impl Deref for Officer {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Visitor {
    /// Checks the certificate, `peer`, that the TLS session of `asked` proved.
    pub(super) fn admit(
        portal: &Portal,
        peer: Option<PeerId>,
        asked: &Asked,
    ) -> Result<Self, Refused> {
        let peer = peer.ok_or(Refused::Certificate)?;
        let tenants = portal.office.tenants_of(&peer).map_err(|error| unavailable(&error))?;
        if tenants.is_empty() {
            return Err(Refused::Certificate);
        }
        let token = portal.sessions.visitor_token(&peer);
        let lang = Lang::asked(asked);
        Ok(Self { peer, tenants, address: asked.address, token, lang })
    }

    /// The certificate's pin.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The language to speak.
    #[must_use]
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// What a form must bring back.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether this certificate may come in for a P.IVA of the account.
    #[must_use]
    pub fn may_be(&self, account: &AccountRecord) -> bool {
        !account.closed && self.first_of(account).is_some()
    }

    /// Checks a password and begins a session. Returns the cookie's secret.
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn log_in(
        &self,
        portal: &Portal,
        user: &str,
        password: &str,
    ) -> Result<String, Refused> {
        let account = self.proven(portal, user, password).await?;
        let tenant = self.first_of(&account).ok_or(Refused::Wrong)?;
        let stamp = digest(&account.password.0);
        let begun = portal.sessions.begin(&account.user, self.peer, tenant, stamp, Instant::now());
        begun.map_err(|_| Refused::Unavailable)
    }

    /// Lets a program in for one request: user and password come with it. Without `wanted` it is
    /// for the first P.IVA that is both the account's and the certificate's.
    pub(super) async fn admit_program(
        self,
        portal: &Portal,
        user: &str,
        password: &str,
        wanted: Option<VatNumber>,
    ) -> Result<Caller, Refused> {
        let found = portal.office.account(user).map_err(|error| unavailable(&error))?;
        let kept = found.as_ref().map_or("", |account| &*account.password.0);
        let mark = portal.sessions.compared(user, password, kept);
        let known = found
            .filter(|account| self.may_be(account) && portal.compared.knows(&mark, Instant::now()));
        let account = match known {
            Some(account) => account,
            None => {
                let account = self.proven(portal, user, password).await?;
                portal.compared.remember(mark, Instant::now());
                account
            }
        };
        let mine = |vat: &VatNumber| self.tenants.contains(vat);
        let tenant = match wanted {
            Some(vat) => Some(vat).filter(mine),
            None => self.first_of(&account),
        };
        let tenant = tenant.ok_or(Refused::Wrong)?;
        let role = role_in(&account, tenant).ok_or(Refused::Wrong)?;
        Ok(Caller { visitor: self, account, tenant, role, session: None, token: String::new() })
    }

    async fn proven(
        &self,
        portal: &Portal,
        user: &str,
        password: &str,
    ) -> Result<Arc<AccountRecord>, Refused> {
        let found = portal.office.account(user).map_err(|error| unavailable(&error))?;
        // An account that this certificate could not open anyway: as if there were none, and
        // its owner is not locked out by strangers.
        let account = found.filter(|account| self.may_be(account));
        let mut keys = vec![Key::Address(self.address), Key::Peer(self.peer)];
        keys.extend(account.as_ref().map(|account| Key::User(account.user.clone())));
        if let Some(wait) = portal.throttle.wait(&keys, Instant::now()) {
            return Err(Refused::Wait(wait.as_secs().max(1)));
        }
        let kept = account.as_ref().map(|account| &account.password);
        if !portal.passwords.is(password, kept).await {
            portal.throttle.failed(&keys, Instant::now());
            return Err(Refused::Wrong);
        }
        let account = account.ok_or(Refused::Wrong)?;
        portal.throttle.right(&Key::User(account.user.clone()));
        Ok(account)
    }

    fn first_of(&self, account: &AccountRecord) -> Option<VatNumber> {
        account.members.iter().map(|(vat, _)| *vat).find(|vat| self.tenants.contains(vat))
    }
}

impl Caller {
    /// Finds who is logged in.
    pub(super) fn admit(portal: &Portal, visitor: Visitor, asked: &Asked) -> Result<Self, Refused> {
        let secret = asked.cookie(&portal.cookie).ok_or(Refused::Login)?;
        let now = Instant::now();
        let (id, session) = portal.sessions.find(secret, now).ok_or(Refused::Login)?;
        if session.peer != visitor.peer {
            return Err(Refused::Login);
        }
        let found = portal.office.account(&session.user).map_err(|error| unavailable(&error))?;
        let is_the_same =
            |account: &Arc<AccountRecord>| digest(&account.password.0) == session.stamp;
        let account = found.filter(|account| !account.closed && is_the_same(account));
        // The certificate or the membership for this P.IVA may have ended, and another be left.
        let tenant = account.as_ref().and_then(|account| {
            let mine = visitor.tenants.contains(&session.tenant)
                && role_in(account, session.tenant).is_some();
            if mine { Some(session.tenant) } else { visitor.first_of(account) }
        });
        let (Some(account), Some(tenant)) = (account, tenant) else {
            portal.sessions.end(&id);
            return Err(Refused::Login);
        };
        let role = role_in(&account, tenant).ok_or(Refused::Login)?;
        let token = portal.sessions.token(&id);
        let lang = Lang::of_code(&account.language).unwrap_or(visitor.lang);
        let visitor = Visitor { lang, ..visitor };
        Ok(Self { visitor, account, tenant, role, session: Some(id), token })
    }

    /// A caller who may do what `needed` may, for a customer.
    pub(super) fn needs(self, portal: &Portal, needed: AccountRole) -> Result<Self, Refused> {
        if self.tenant == OFFICE || self.role < needed {
            return Err(Refused::NotFound);
        }
        let customer = portal.office.customer(self.tenant).map_err(|error| unavailable(&error))?;
        match customer {
            Some(customer) if customer.suspended_ms.is_none() => Ok(self),
            Some(_) => Err(Refused::Suspended),
            None => Err(Refused::NotFound),
        }
    }

    /// A caller in the office.
    pub(super) fn officer(self) -> Result<Officer, Refused> {
        match (self.tenant, self.role) {
            (OFFICE, AccountRole::Administrator) => Ok(Officer(self)),
            _ => Err(Refused::NotFound),
        }
    }

    /// Whether everything by which the caller came in still holds.
    #[must_use]
    pub fn may_stay(&self, portal: &Portal) -> bool {
        let tenants = portal.office.tenants_of(&self.visitor.peer);
        let account = portal.office.account(&self.account.user);
        let customer = portal.office.customer(self.tenant);
        let is_bound = tenants.is_ok_and(|tenants| tenants.contains(&self.tenant));
        let is_same = account.ok().flatten().is_some_and(|account| {
            !account.closed
                && account.password == self.account.password
                && role_in(&account, self.tenant).is_some_and(|role| role >= self.role)
        });
        let is_served =
            customer.ok().flatten().is_some_and(|customer| customer.suspended_ms.is_none());
        let is_in = self.session.as_ref().is_none_or(|session| portal.sessions.has(session));
        is_bound && is_same && is_served && is_in
    }

    /// The P.IVA in question.
    #[must_use]
    pub fn tenant(&self) -> VatNumber {
        self.tenant
    }

    /// What the person may do for it.
    #[must_use]
    pub fn role(&self) -> AccountRole {
        self.role
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &AccountRecord {
        &self.account
    }

    /// The certificate's pin.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.visitor.peer
    }

    /// The language to speak.
    #[must_use]
    pub fn lang(&self) -> Lang {
        self.visitor.lang
    }

    /// What a form must bring back.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    /// Every P.IVA the person could turn to with this certificate.
    #[must_use]
    pub fn choices(&self) -> Vec<VatNumber> {
        let members = self.account.members.iter().map(|(vat, _)| *vat);
        members.filter(|vat| self.visitor.tenants.contains(vat)).collect()
    }
}

fn role_in(account: &AccountRecord, tenant: VatNumber) -> Option<AccountRole> {
    account.members.iter().find(|(vat, _)| *vat == tenant).map(|(_, role)| *role)
}

fn unavailable(error: &dyn std::fmt::Display) -> Refused {
    tracing::error!(%error, "nobody is let in");
    Refused::Unavailable
}
