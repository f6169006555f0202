//! Every bound in one place: what an outsider can send, what we hold in flight, how
//! long we wait. The unit is in the name, the reason beside the number.

use crate::id::Seq;

/// Longest frame after its length prefix: a full run that did not compress, and its header.
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bodies and inline blobs of one run before compression. Large enough that a signature (64 B,
/// 50 us) and a frame cost nothing per invoice, small enough to hold several in memory. In version
/// 1 it was 1 MiB, and whoever speaks that is sent less.
pub const RUN_RAW_BYTES_MAX: usize = 1900 * 1024;
/// A run is closed once it holds this much, so the usual run stays well under the bound: of a
/// hundred and seventy invoices together each takes a ninth less than of eighty-five.
pub const RUN_RAW_BYTES_TARGET: usize = 1024 * 1024;
/// The same for whoever speaks version 1 only.
pub const SHORT_RUN_RAW_BYTES_TARGET: usize = 512 * 1024;
/// The same over a line to somewhere else: three hundred invoices together take a tenth less again,
/// 62 kB or 0.5 s of a 1 Mbit/s uplink, and so slow a line brings no second run meanwhile.
pub const LONG_RUN_RAW_BYTES_TARGET: usize = 1792 * 1024;
/// Different marks in a run that is laid out as a sheet; invoices have some four hundred.
pub const SHEET_MARKS_MAX: usize = 16_384;
/// Invoices that a run refers to instead of naming them: so many rows a stranger can make us look
/// up, and so many bytes of them. An invoice takes 6 kB.
pub const RUN_REFERENCES_MAX: usize = RUN_BUNDLES_MAX;
/// See [`RUN_REFERENCES_MAX`].
pub const RUN_REFERRED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A run of fewer bundles refers to nothing: to say where things are would cost what it saves.
pub const REFERRING_BUNDLES_MIN: Seq = 8;
/// Bundles in one run.
pub const RUN_BUNDLES_MAX: usize = 4096;
/// One bundle's body, without blobs.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Items in one bundle.
pub const BODY_ITEMS_MAX: usize = 1024;
/// Blobs in one bundle.
pub const BODY_BLOBS_MAX: usize = 64;
/// A blob up to this size travels inside the run; 64 KiB takes 0.5 s on a 1 Mbit/s uplink.
pub const BLOB_INLINE_BYTES_MAX: usize = CHUNK_BYTES;
/// Inline blobs of one bundle together.
pub const BUNDLE_INLINE_BYTES_MAX: usize = 512 * 1024;
/// Unit of transfer, check and resumption of a large blob.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Largest blob. The SdI takes 5 MB by web service and 30 MB by PEC.
pub const BLOB_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// One Automerge change.
pub const CHANGE_BYTES_MAX: usize = 128 * 1024;
/// Operations in one change, counted from run lengths before they are expanded.
pub const CHANGE_OPS_MAX: u64 = 20_000;
/// Changes one change may depend on, and actors it may mention.
pub const CHANGE_DEPS_MAX: usize = 64;
/// Changes of one document that are loaded to derive its record.
pub const DOCUMENT_CHANGES_MAX: usize = 10_000;
/// Spaces listed in a `Hello`; more are sent in `Spaces` frames only if roots differ.
pub const HELLO_SPACES_MAX: usize = 64;
/// Logs of a space that a brief state lists: both portals and a few nodes, now and before
/// their last start. 19 B each.
pub const BRIEF_LOGS_MAX: usize = 6;
/// How many of our own newest logs a peer may not know, for its brief state to be understood.
pub const BRIEF_NEWER_MAX: usize = 8;
/// Places of a log kept in memory to compare overlapping runs with: 2.5 kB a busy log.
pub const LOG_RECENT_MAX: usize = 64;
/// The peer's name for its program, in `Hello`.
pub const AGENT_BYTES_MAX: usize = 64;
/// Logs of one tenant (its nodes' and portals' incarnations).
pub const LOGS_PER_SPACE_MAX: usize = 4096;
/// Bytes of runs sent on one session and not acknowledged yet: 40 ms at 1 Gbit/s and more than
/// any ADSL line holds, so the line is the limit and not the window.
pub const SESSION_IN_FLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The same on a standby that carries a hedge: a false alarm, which is certain now and then,
/// must cost a slow line little.
pub const HEDGE_IN_FLIGHT_BYTES_MAX: usize = 128 * 1024;
/// Batches handed to the store and not durable yet, per engine.
pub const COMMITS_IN_FLIGHT_MAX: usize = 64;
/// Chunks asked for and not arrived, per session.
pub const CHUNKS_IN_FLIGHT_MAX: u32 = 32;
/// Bundles per session that wait for their large blobs, at most 256 KiB each.
pub const STAGED_PER_SESSION_MAX: usize = 8;
/// Requests for chunks queued by one peer: an honest one has at most one a chunk in flight of
/// each staged bundle.
pub const CHUNK_REQUESTS_MAX: usize = 1024;
/// Control frames queued to one peer: more means that it asks and does not read.
pub const CONTROL_FRAMES_MAX: usize = 4096;
/// An answer to a `Want` is waited for this long before a periodic session rests: a run at
/// 256 kbit/s, and a busy disk on the other side.
pub const WANT_MS_MAX: u64 = 30_000;
/// Sessions one peer may hold at a time: two lines to two addresses, and their replacements.
pub const SESSIONS_PER_PEER_MAX: usize = 8;
/// Effects waiting for the host; above it inputs from the network are not read.
pub const EFFECTS_MAX: usize = 65_536;

/// Stagger between attempts of one race (RFC 8305 section 5 recommends 250 ms).
pub const DIAL_STAGGER_MS: u64 = 250;
/// An attempt that has not opened a session by now is given up.
pub const DIAL_TIMEOUT_MS: u64 = 10_000;
/// First and longest pause between races that found nobody.
pub const BACKOFF_MS_MIN: u64 = 500;
/// See [`BACKOFF_MS_MIN`].
pub const BACKOFF_MS_MAX: u64 = 30_000;
/// A session without traffic is pinged this often when primary: the age at which a dead idle line is noticed.
pub const PING_PRIMARY_MS: u64 = 5_000;
/// The same on a warm standby.
pub const PING_STANDBY_MS: u64 = 10_000;
/// Floor of the time a frame may stay unanswered before it is hedged (added to 1.25 smoothed RTT).
pub const HEDGE_FLOOR_MS: u64 = 60;
/// A path that stayed silent this long beyond 3 smoothed RTT loses the primary role once a hedge was answered.
pub const DEMOTE_SILENCE_MS: u64 = 1_500;
/// A session whose `Hello` has not come by now is closed.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;

const _: () = assert!(HEDGE_IN_FLIGHT_BYTES_MAX < SESSION_IN_FLIGHT_BYTES_MAX);
const _: () = assert!(SHORT_RUN_RAW_BYTES_TARGET < RUN_RAW_BYTES_TARGET);
const _: () = assert!(RUN_RAW_BYTES_TARGET < LONG_RUN_RAW_BYTES_TARGET);
const _: () = assert!(LONG_RUN_RAW_BYTES_TARGET < RUN_RAW_BYTES_MAX);
const _: () = assert!(SHEET_MARKS_MAX <= u16::MAX as usize);
// What version 1 takes.
const _: () = assert!(SHORT_RUN_RAW_BYTES_TARGET + BUNDLE_INLINE_BYTES_MAX <= 1024 * 1024);
const _: () = assert!(RUN_RAW_BYTES_MAX + RUN_BUNDLES_MAX * 8 + 4096 < FRAME_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX + BUNDLE_INLINE_BYTES_MAX <= RUN_RAW_BYTES_MAX);
const _: () = assert!(BLOB_INLINE_BYTES_MAX <= BUNDLE_INLINE_BYTES_MAX);
const _: () = assert!(CHANGE_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES + 256 < FRAME_BYTES_MAX);
const _: () = assert!(STAGED_PER_SESSION_MAX * CHUNKS_IN_FLIGHT_MAX as usize <= CHUNK_REQUESTS_MAX);
