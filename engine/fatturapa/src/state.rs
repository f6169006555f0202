//! The state of an invoice as a pure function of the *set* of its messages (RULES.md section 4). Late,
//! doubled and disordered messages give the same state, which makes it a join for a CRDT. Never looks at
//! arrival order, and binds by IdentificativoSdI, never by the number of the invoice.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::messages::{Answer, Content, Family, InvoiceReference, Message, SdiId};

/// Where an invoice stands after it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Sent, nothing heard.
    Sent,
    /// MC, public: the SdI goes on trying.
    Undelivered,
    /// RC.
    Delivered,
    /// MC, private: final, issued, in the reserved area of the buyer.
    NotDelivered,
    /// AT: final, counts as sent.
    Attested,
    /// DT: final, fifteen days without an answer.
    Expired,
    /// NE EC01.
    Accepted,
    /// NE EC02.
    Refused,
    /// NS.
    Rejected,
}

impl State {
    /// The word a bookkeeper reads.
    #[must_use]
    pub const fn italian(self) -> &'static str {
        match self {
            Self::Sent => "inviata",
            Self::Undelivered => "non ancora consegnata",
            Self::Delivered => "consegnata",
            Self::NotDelivered => "emessa, nell'area riservata del cliente",
            Self::Attested => "trasmessa con impossibilità di recapito",
            Self::Expired => "decorsi i termini",
            Self::Accepted => "accettata",
            Self::Refused => "rifiutata",
            Self::Rejected => "scartata",
        }
    }
}

/// Why the messages of one file cannot all be right: a person must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Alarm {
    /// NS together with a message that supposes the file was accepted.
    RejectedAndMore,
    /// The buyer both accepted and refused.
    AcceptedAndRefused,
    /// Messages of both families for one IdentificativoSdI.
    TwoFamilies,
}

/// State with what makes it doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state; of highest rank when there is an alarm.
    pub state: State,
    /// True when no further message can change it.
    pub is_final: bool,
    /// What contradicts what.
    pub alarms: BTreeSet<Alarm>,
}

/// Which invoice of a file is asked about; the file itself when it holds one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subject {
    /// Numero.
    pub number: String,
    /// Year of Data.
    pub year: i32,
    /// Place in the batch, from 1; 0 when unknown.
    pub position: usize,
}

impl Subject {
    /// True when an answer concerns this invoice: one without reference concerns the whole file.
    fn is_meant_by(&self, reference: Option<&InvoiceReference>) -> bool {
        let Some(reference) = reference else { return true };
        if self.number.is_empty() {
            return true;
        }
        let same_place = reference
            .position
            .as_deref()
            .and_then(|position| position.parse::<usize>().ok())
            .is_none_or(|position| self.position == 0 || position == self.position);
        reference.number.trim() == self.number
            && reference.year.trim().parse::<i32>().is_ok_and(|year| year == self.year)
            && same_place
    }
}

/// The state of a file of one invoice.
#[must_use]
pub fn of_file<'m>(id: &SdiId, messages: impl IntoIterator<Item = &'m Message>) -> Status {
    of_invoice(id, &Subject::default(), messages)
}

/// The state of one invoice of a file. Messages about other files are ignored (rule c).
#[must_use]
pub fn of_invoice<'m>(
    id: &SdiId,
    subject: &Subject,
    messages: impl IntoIterator<Item = &'m Message>,
) -> Status {
    let mut evidence = Evidence::default();
    for message in messages.into_iter().filter(|message| message.sdi_id == *id) {
        evidence.add(message, subject);
    }
    evidence.status()
}

/// True when nothing was heard for more than five days (rule f).
#[must_use]
pub fn is_overdue(status: &Status, sent: Date, today: Date) -> bool {
    status.state == State::Sent && today.days() - sent.days() > 5
}

/// What was ever heard: flags that only ever rise, hence order and repetition cannot matter.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    is_rejected: bool,
    is_delivered: bool,
    is_not_delivered: bool,
    is_undelivered: bool,
    is_attested: bool,
    is_expired: bool,
    is_accepted: bool,
    is_refused: bool,
    is_public: bool,
    is_private: bool,
}

impl Evidence {
    fn add(&mut self, message: &Message, subject: &Subject) {
        match message.family {
            Family::Public => self.is_public = true,
            Family::Private => self.is_private = true,
        }
        match (&message.content, message.family) {
            (Content::Rejected { .. }, _) => self.is_rejected = true,
            (Content::Delivered { .. }, _) => self.is_delivered = true,
            (Content::NotDelivered { .. }, Family::Private) => self.is_not_delivered = true,
            (Content::NotDelivered { .. }, Family::Public) => self.is_undelivered = true,
            (Content::Undeliverable { .. }, _) => self.is_attested = true,
            (Content::TermsExpired { invoice, .. }, _) => {
                self.is_expired |= subject.is_meant_by(invoice.as_ref());
            }
            (Content::Outcome(Answer { is_accepted, invoice, .. }), _)
                if subject.is_meant_by(invoice.as_ref()) =>
            {
                self.is_accepted |= *is_accepted;
                self.is_refused |= !*is_accepted;
            }
            // EC, SE and MT belong to the receiving side.
            _ => {}
        }
    }

    fn status(self) -> Status {
        let is_more = self.is_delivered
            || self.is_not_delivered
            || self.is_undelivered
            || self.is_attested
            || self.is_expired
            || self.is_accepted
            || self.is_refused;
        let alarms = [
            (self.is_rejected && is_more, Alarm::RejectedAndMore),
            (self.is_accepted && self.is_refused, Alarm::AcceptedAndRefused),
            (self.is_public && self.is_private, Alarm::TwoFamilies),
        ];
        let state = match self {
            Self { is_rejected: true, .. } => State::Rejected,
            Self { is_refused: true, .. } => State::Refused,
            Self { is_accepted: true, .. } => State::Accepted,
            Self { is_expired: true, .. } => State::Expired,
            Self { is_attested: true, .. } => State::Attested,
            Self { is_delivered: true, .. } => State::Delivered,
            Self { is_not_delivered: true, .. } => State::NotDelivered,
            Self { is_undelivered: true, .. } => State::Undelivered,
            _ => State::Sent,
        };
        let is_final = match state {
            State::Sent | State::Undelivered => false,
            State::Delivered => self.is_private && !self.is_public,
            _ => true,
        };
        let alarms =
            alarms.into_iter().filter(|(is_so, _)| *is_so).map(|(_, alarm)| alarm).collect();
        Status { state, is_final, alarms }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(family: Family, content: Content) -> Message {
        Message {
            family,
            sdi_id: SdiId("7".to_owned()),
            file_name: None,
            hash: None,
            received_at: None,
            message_id: None,
            note: None,
            is_signed: false,
            content,
        }
    }

    fn all(family: Family) -> Vec<Message> {
        let answer = |is_accepted| Answer { is_accepted, invoice: None, description: None };
        let delivered = Content::Delivered { at: None, recipient: None, recipient_name: None };
        let not = Content::NotDelivered { available_from: None, description: None };
        let mut contents = vec![delivered, Content::Rejected { errors: vec![] }, not];
        if family == Family::Public {
            contents.extend([
                Content::Outcome(answer(true)),
                Content::Outcome(answer(false)),
                Content::TermsExpired { invoice: None, description: None },
                Content::Undeliverable { recipient: None },
            ]);
        }
        contents.into_iter().map(|content| message(family, content)).collect()
    }

    fn state(messages: &[&Message]) -> Status {
        of_file(&SdiId("7".to_owned()), messages.iter().copied())
    }

    #[test]
    fn the_tables_of_the_rules_hold() {
        let private = all(Family::Private);
        let [rc, ns, mc] = &private[..] else { panic!() };
        let check = |messages: &[&Message], expected, is_final| {
            let status = state(messages);
            assert_eq!((status.state, status.is_final), (expected, is_final), "{messages:?}");
        };
        check(&[], State::Sent, false);
        check(&[rc], State::Delivered, true);
        check(&[mc], State::NotDelivered, true);
        check(&[ns], State::Rejected, true);
        let public = all(Family::Public);
        let [rc, ns, mc, ec01, ec02, dt, at] = &public[..] else { panic!() };
        check(&[rc], State::Delivered, false);
        check(&[mc], State::Undelivered, false);
        check(&[mc, rc], State::Delivered, false);
        check(&[mc, at], State::Attested, true);
        check(&[ec01], State::Accepted, true);
        check(&[ec02, rc], State::Refused, true);
        check(&[dt, rc], State::Expired, true);
        check(&[ns], State::Rejected, true);
        assert!(state(&[ns, rc]).alarms.contains(&Alarm::RejectedAndMore));
        assert!(state(&[ec01, ec02]).alarms.contains(&Alarm::AcceptedAndRefused));
    }

    #[test]
    fn a_message_about_another_file_changes_nothing() {
        let mut ns = message(Family::Private, Content::Rejected { errors: vec![] });
        ns.sdi_id = SdiId("8".to_owned());
        assert_eq!(state(&[&ns]).state, State::Sent);
    }

    #[test]
    fn an_answer_about_one_invoice_of_a_batch_leaves_the_others() {
        let reference = InvoiceReference {
            number: "2".to_owned(),
            year: "2025".to_owned(),
            position: Some("2".to_owned()),
        };
        let answer = Answer { is_accepted: false, invoice: Some(reference), description: None };
        let ne = message(Family::Public, Content::Outcome(answer));
        let rc = all(Family::Public).swap_remove(0);
        let of = |number: &str, position| {
            let subject = Subject { number: number.to_owned(), year: 2025, position };
            of_invoice(&SdiId("7".to_owned()), &subject, [&ne, &rc]).state
        };
        assert_eq!((of("1", 1), of("2", 2)), (State::Delivered, State::Refused));
    }

    /// Every subset of the messages of a family, in every order, with one of them doubled.
    #[test]
    fn order_and_repetition_never_matter() {
        for family in [Family::Private, Family::Public] {
            let messages = all(family);
            for subset in 0_u32..1 << messages.len() {
                let chosen: Vec<&Message> = (0..messages.len())
                    .filter(|i| subset & (1 << i) != 0)
                    .map(|i| &messages[i])
                    .collect();
                let expected = state(&chosen);
                permute(&mut chosen.clone(), 0, &mut |order| {
                    assert_eq!(state(order), expected);
                    if let Some(first) = order.first() {
                        let mut doubled = order.to_vec();
                        doubled.push(first);
                        assert_eq!(state(&doubled), expected);
                    }
                });
            }
        }
    }

    fn permute<'m>(
        list: &mut Vec<&'m Message>,
        from: usize,
        each: &mut impl FnMut(&[&'m Message]),
    ) {
        if from == list.len() {
            return each(list);
        }
        for i in from..list.len() {
            list.swap(from, i);
            permute(list, from + 1, each);
            list.swap(from, i);
        }
    }

    proptest! {
        /// Joining what two replicas heard gives what one that heard all would say, and a later message
        /// never lowers the rank.
        #[test]
        fn hearing_more_never_lowers_the_rank(picks in prop::collection::vec((0_usize..7, any::<bool>()), 0..12)) {
            let messages = all(Family::Public);
            let chosen: Vec<&Message> = picks.iter().map(|(i, _)| &messages[*i]).collect();
            let part: Vec<&Message> = picks.iter().filter(|(_, kept)| *kept).map(|(i, _)| &messages[*i]).collect();
            prop_assert!(state(&part).state <= state(&chosen).state);
            let both: Vec<&Message> = part.iter().chain(&chosen).copied().collect();
            prop_assert_eq!(state(&both), state(&chosen));
        }
    }
}
