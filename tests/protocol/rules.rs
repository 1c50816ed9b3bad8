//! The rules of the protocols that a walk may switch off, one at a time, to show that it notices.
//! A host of the model then leaves out what the rule asks for; the store stays as it is.

/// What is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// R1: a refused fence is ignored, commits go out under whatever fence the database has.
    Fence,
    /// R1: a fence that is refused under a live lease is not lifted.
    Lift,
    /// R1: the newest inbox item comes first.
    Order,
    /// R2: the generation is read at the commit, not before the call.
    Generation,
    /// R2: a call that looked rows up commits whatever has been committed since.
    Lookup,
    /// R3: the cursor's version is read at the commit, not before the call.
    CursorVersion,
    /// R4: what a dead holder left untold is not told.
    Relay,
    /// R4: what a dead holder left is not told, and what is applied already is not asked for.
    Applied,
    /// R5: commits are not on disk before they are relayed.
    Durability,
    /// R5: a replication database that is behind what was relayed is not driven again.
    DriveAgain,
    /// R6: `due_at` is cleared after the vendor was read.
    Take,
    /// R6: an activation is dropped while the stream runs.
    Activation,
    /// R6: what a dead holder has taken is not due.
    Taken,
    /// R6: what is due runs, whatever its `not_before` says.
    BackOff,
    /// R6: control writes of a holder don't ask whose lease it is.
    ControlFence,
    /// R10: a refused grant is held against whatever grant there is by then.
    Verdict,
    /// A run that went on between two pages of an earlier one doesn't run once more.
    HalfRead,
}

impl Rule {
    pub(crate) const ALL: [Self; 17] = [
        Self::Fence,
        Self::Lift,
        Self::Order,
        Self::Generation,
        Self::Lookup,
        Self::CursorVersion,
        Self::Relay,
        Self::Applied,
        Self::Durability,
        Self::DriveAgain,
        Self::Take,
        Self::Activation,
        Self::Taken,
        Self::BackOff,
        Self::ControlFence,
        Self::Verdict,
        Self::HalfRead,
    ];
}
