//! The replication engine of Staffetta: inputs in, effects out.
//!
//! An [`engine::Engine`] is one identity's replica of one or many tenants' spaces. It is told
//! what happened ([`effect::Input`]) and says what to do about it ([`effect::Effect`]), in order
//! and one at a time. It never touches a socket, a disk, a clock or a die, owns no thread and
//! knows no runtime: time is an argument, durability is an answer, randomness was drawn by the
//! host. So the same inputs give the same effects, and a whole deployment runs in a test.
//!
//! Two replicas converge: a portal admits a node, the node says something while nobody
//! listens, they meet.
//! ```
//! use engine::{
//!     archive, bundle::{Item, PublicKey, Signer}, effect::{Effect, Input, Ticket},
//!     engine::{Config, Engine}, grant::{Grant, Role}, id::{Incarnation, PeerId, VatNumber},
//!     session::SessionId, store::{Store, memory::MemoryStore}, time::Time, wire::{Effort, Frame, Packing},
//! };
//! # use ring::{rand::SystemRandom, signature::{EcdsaKeyPair, KeyPair}};
//! # use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING as ALGORITHM;
//! # struct Key { pair: EcdsaKeyPair, public: PublicKey }
//! # impl Signer for Key {
//! #     fn public_key(&self) -> &PublicKey { &self.public }
//! #     fn sign(&self, message: &[u8]) -> [u8; 64] {
//! #         self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().try_into().unwrap()
//! #     }
//! # }
//! # fn key() -> Key {
//! #     let rng = SystemRandom::new();
//! #     let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ALGORITHM, &rng).unwrap();
//! #     let pair = EcdsaKeyPair::from_pkcs8(&ALGORITHM, pkcs8.as_ref(), &rng).unwrap();
//! #     let mut spki = engine::bundle::SPKI_P256.to_vec();
//! #     spki.extend_from_slice(pair.public_key().as_ref());
//! #     Key { public: PublicKey::from_spki(&spki).unwrap(), pair }
//! # }
//! /// A host in its smallest form: an engine, a store, and what is on the wire to the other.
//! struct Host { engine: Engine, store: MemoryStore, wire: Vec<Frame> }
//!
//! impl Host {
//!     fn new(role: Role, key: Key, portal: PeerId, tenant: Option<VatNumber>) -> Self {
//!         let store = MemoryStore::new();
//!         let config = Config {
//!             signer: Box::new(key),
//!             incarnation: Incarnation([1; 16]), // a real host draws it at every start
//!             role, tenant, portals: vec![portal], agent: "example".into(),
//!         };
//!         let engine = Engine::new(config, archive::recover(&store).unwrap());
//!         Self { engine, store, wire: Vec::new() }
//!     }
//!
//!     fn tell(&mut self, input: Input) {
//!         self.engine.handle(Time::ZERO, input);
//!         while let Some(effect) = self.engine.poll() {
//!             match effect {
//!                 Effect::Send { frame, .. } => self.wire.push(frame),
//!                 Effect::Commit { commit, batch } => {
//!                     self.store.apply(batch).unwrap();
//!                     self.store.barrier().unwrap(); // only now is it durable
//!                     self.engine.handle(Time::ZERO, Input::Committed { commit });
//!                 }
//!                 Effect::SendRun { session, tenant, origin, after, upto, held, form } => {
//!                     let packing = Packing { form, effort: Effort::Quick };
//!                     let run =
//!                         archive::run(&self.store, tenant, &origin, after, upto, &held, packing);
//!                     let (run, large) = run.unwrap();
//!                     let upto = run.last().unwrap();
//!                     self.wire.push(Frame::Run(run));
//!                     let sent = Input::RunSent { session, upto, bytes: 0, large };
//!                     self.engine.handle(Time::ZERO, sent);
//!                 }
//!                 _ => {} // status, pins, alarms
//!             }
//!         }
//!     }
//! }
//!
//! let tenant = VatNumber::parse("02038490237").unwrap();
//! let (portal_key, node_key) = (key(), key());
//! let (portal_id, node_id) = (portal_key.public.peer(), node_key.public.peer());
//! let grant = Grant { spki: node_key.public.spki().to_vec(), not_after_ms: u64::MAX };
//! let mut portal = Host::new(Role::Portal, portal_key, portal_id, None);
//! let mut node = Host::new(Role::Node, node_key, portal_id, Some(tenant));
//!
//! let say = |items| Input::Append { ticket: Ticket(1), tenant, written_ms: 0, items, files: vec![] };
//! portal.tell(say(vec![Item::Grant(grant)]));
//! node.tell(say(vec![])); // an empty bundle is a bundle
//!
//! let session = SessionId(1);
//! node.tell(Input::Opened { session, peer: portal_id, dialled: true, primary: true });
//! portal.tell(Input::Opened { session, peer: node_id, dialled: false, primary: false });
//! while !(node.wire.is_empty() && portal.wire.is_empty()) {
//!     for frame in std::mem::take(&mut node.wire) { portal.tell(Input::Received { session, frame }) }
//!     for frame in std::mem::take(&mut portal.wire) { node.tell(Input::Received { session, frame }) }
//! }
//! assert_eq!(node.engine.vector(tenant), portal.engine.vector(tenant));
//! assert_eq!(node.engine.digest(tenant), portal.engine.digest(tenant));
//! assert_eq!(node.engine.vector(tenant).len(), 2); // the portal's log and the node's
//! ```
#![forbid(unsafe_code)]

pub mod archive;
pub mod bundle;
pub mod chunk;
pub mod document;
pub mod effect;
pub mod engine;
pub mod fault;
pub mod grant;
pub mod id;
pub mod limits;
pub mod log;
pub mod plant;
pub mod record;
pub mod route;
pub mod session;
pub mod store;
pub mod time;
pub mod vector;
pub mod wire;
