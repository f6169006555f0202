//! Where the SdI's messages leave an invoice: a pure function of their set.
//!
//! Messages come late, twice and out of order, so no message is "the next one". Each has a
//! rank and the highest counts (RULES.md section 4): NS > NE, DT, AT > RC > MC > Sent. A
//! rejection is about one transmission only: where another of the same file did better, the
//! invoice is not rejected, since 00002 and 00404 mean that the first had arrived.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::outcome::{OutcomeEntry, Receipt};

/// Where an invoice stands with the SdI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OutcomeState {
    /// Nothing said yet about a transmission.
    Silent,
    /// A received invoice: its metadata is here.
    Received,
    /// The SdI has it (Sent).
    Sent,
    /// Not delivered (MC). Issued all the same when the buyer is private.
    NotDelivered,
    /// Delivered (RC).
    Delivered,
    /// Transmitted, undeliverable (AT).
    Attested,
    /// The public body's 15 days are over (DT).
    Expired,
    /// The public body accepted it (NE with EC01).
    Accepted,
    /// The public body refused it (NE with EC02).
    Refused,
    /// The SdI rejected it (NS).
    Rejected,
}

impl OutcomeState {
    /// Whether nothing more can come. It depends on the buyer: `public_body` is true for
    /// invoices in format FPA12.
    #[must_use]
    pub fn is_final(self, public_body: bool) -> bool {
        match self {
            Self::Silent | Self::Received | Self::Sent => false,
            Self::NotDelivered | Self::Delivered => !public_body,
            Self::Attested | Self::Expired | Self::Accepted | Self::Refused | Self::Rejected => {
                true
            }
        }
    }

    fn of(entry: &OutcomeEntry) -> Self {
        let says = |code| entry.codes.split_whitespace().any(|here| here == code);
        match entry.receipt {
            Receipt::Sent => Self::Sent,
            Receipt::Delivered => Self::Delivered,
            Receipt::Rejected => Self::Rejected,
            Receipt::NotDelivered => Self::NotDelivered,
            Receipt::Outcome if says("EC02") => Self::Refused,
            Receipt::Outcome if says("EC01") => Self::Accepted,
            // An outcome that says neither proves that the file was delivered, and no more.
            Receipt::Outcome => Self::Delivered,
            Receipt::Undeliverable => Self::Attested,
            Receipt::TermsExpired => Self::Expired,
            // Our own answers leave a received invoice received.
            Receipt::AnswerRejected | Receipt::Answer | Receipt::Metadata => Self::Received,
        }
    }

    /// States that exclude each other for one transmission.
    fn is_verdict(self) -> bool {
        matches!(self, Self::Attested | Self::Expired | Self::Accepted | Self::Refused)
    }
}

/// The state, the transmission it is about, and whether messages contradict each other.
pub(super) fn derive(entries: &[OutcomeEntry]) -> (OutcomeState, String, bool) {
    let mut transmissions: BTreeMap<&str, Vec<OutcomeState>> = BTreeMap::new();
    for entry in entries {
        let states = transmissions.entry(&entry.sdi_id).or_default();
        states.push(OutcomeState::of(entry));
    }
    let mut best = (false, OutcomeState::Silent, "");
    let mut alarm = false;
    for (sdi_id, states) in transmissions {
        let state = states.iter().copied().max().unwrap_or(OutcomeState::Silent);
        let rejected = state == OutcomeState::Rejected;
        let beyond_sent = |state: &&OutcomeState| **state > OutcomeState::Sent;
        alarm |= rejected && states.iter().filter(beyond_sent).any(|s| *s != state);
        alarm |= states.iter().any(|s| s.is_verdict() && state.is_verdict() && *s != state);
        // A transmission that was not rejected is better than one that was.
        best = best.max((!rejected, state, sdi_id));
    }
    (best.1, best.2.to_owned(), alarm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &[(Receipt, &str, &str)], state: OutcomeState, alarm: bool) {
        let mut entries: Vec<_> = messages
            .iter()
            .map(|(receipt, sdi_id, codes)| OutcomeEntry {
                codes: (*codes).to_owned(),
                ..OutcomeEntry::new(*receipt, sdi_id, 1)
            })
            .collect();
        for _ in 0..2 {
            let (found, _, alarmed) = derive(&entries);
            assert_eq!((found, alarmed), (state, alarm), "{messages:?}");
            entries.reverse();
        }
    }

    #[test]
    fn the_highest_rank_counts_whatever_came_last() {
        use Receipt::{Delivered, NotDelivered, Outcome, Rejected, Sent, TermsExpired};
        check(&[], OutcomeState::Silent, false);
        check(&[(Sent, "1", "")], OutcomeState::Sent, false);
        check(&[(Sent, "1", ""), (Delivered, "1", "")], OutcomeState::Delivered, false);
        check(&[(Delivered, "1", ""), (NotDelivered, "1", "")], OutcomeState::Delivered, false);
        check(&[(Outcome, "1", "EC01"), (Delivered, "1", "")], OutcomeState::Accepted, false);
        check(&[(Outcome, "1", "EC02")], OutcomeState::Refused, false);
        check(&[(TermsExpired, "1", ""), (Delivered, "1", "")], OutcomeState::Expired, false);
        check(&[(Rejected, "1", "00404"), (Sent, "1", "")], OutcomeState::Rejected, false);
    }

    #[test]
    fn contradictions_are_an_alarm() {
        use Receipt::{Delivered, Outcome, Rejected, TermsExpired};
        check(&[(Rejected, "1", ""), (Delivered, "1", "")], OutcomeState::Rejected, true);
        check(&[(Outcome, "1", "EC02"), (TermsExpired, "1", "")], OutcomeState::Refused, true);
        check(&[(Outcome, "1", "EC01"), (Outcome, "1", "EC02")], OutcomeState::Refused, true);
    }

    #[test]
    fn a_rejected_second_transmission_leaves_the_first_alone() {
        use Receipt::{Delivered, Rejected, Sent};
        let second = (Rejected, "2", "00404");
        check(&[(Sent, "1", ""), second], OutcomeState::Sent, false);
        check(&[(Delivered, "1", ""), second], OutcomeState::Delivered, false);
        check(&[second], OutcomeState::Rejected, false);
    }

    #[test]
    fn what_is_final_depends_on_the_buyer() {
        assert!(OutcomeState::NotDelivered.is_final(false));
        assert!(!OutcomeState::NotDelivered.is_final(true));
        assert!(OutcomeState::Rejected.is_final(true));
        assert!(!OutcomeState::Sent.is_final(false));
    }
}
