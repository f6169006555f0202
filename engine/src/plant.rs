//! Bugs planted on purpose, so that the simulator can show that it finds them.
//!
//! Only with the feature `plant`, which no shipped program turns on and an optimised build
//! refuses; without it [`is`] is the constant `false` and each of these places is as if it
//! were not there. `docs/RELIABILITY.md` lists which seed finds which.

#[cfg(all(feature = "plant", not(debug_assertions)))]
compile_error!("the feature `plant` breaks the engine on purpose: it is for tests only");

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What is handed to the store is acknowledged before its barrier.
    AckBeforeBarrier,
    /// The vector tells what is handed over, not what is durable.
    VectorBeforeDurable,
    /// A peer is asked nothing before it is told about a tenant.
    MissingGrantCheck,
    /// A writer's second past is taken for its first.
    ForkAccepted,
    /// Cuts are not looked at.
    RevocationIgnored,
    /// Files inside a run are not compared with their names.
    FileUnchecked,
    /// Nor are chunks of large ones.
    ChunkUnchecked,
    /// A node may write what a portal may.
    KindUnchecked,
    /// A change may be in another's name.
    ActorUnchecked,
    /// Every signature is good.
    SignatureUnchecked,
    /// What a failed barrier kept stays.
    UndoForgotten,
}

#[cfg(feature = "plant")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in every engine of this thread, or none.
#[cfg(feature = "plant")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

#[cfg(feature = "plant")]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

#[cfg(not(feature = "plant"))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
