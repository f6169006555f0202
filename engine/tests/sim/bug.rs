//! Bugs planted on purpose, to show that the simulator finds such bugs.

/// A planted bug. Those of the host are here in the simulated host; those of the engine are in
/// the engine behind its feature `plant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A restarted writer goes on in its old incarnation.
    IncarnationKept,
    /// The committer takes a failed barrier for a good one.
    BarrierNotChecked,
    /// The mirror's cursor starts one row late.
    MirrorSkipsOne,
    /// The mirror's position is written before its records.
    MirrorPositionFirst,
    /// Bundles left the truth and the mirror keeps their records.
    MirrorNotRebuilt,
    /// One of the engine's.
    #[cfg(feature = "plant")]
    Engine(engine::plant::Bug),
}
