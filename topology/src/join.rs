//! Whether a request to join may be looked at: somebody of the charter in force, at the parent or above it, has signed its
//! invitation, and the division is free. Whether it is given is a person's decision, where the authority's key is.

use crate::charter::{Charter, Level, NewNode};
use tally_protocol::{
    ids::{Division, Federation, LogId},
    invite::{Invite, SignedInvite},
    join::JoinRequest,
    request::RequestError,
};

/// Why a request to join, or its invitation, is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefused {
    /// It is no request, or not signed as one.
    #[error(transparent)]
    Note(#[from] RequestError),
    /// Of another federation.
    #[error("the invitation is of federation {0}")]
    Federation(Federation),
    /// Whoever is said to have signed it did not, or is not in service, or not above.
    #[error("the invitation is not signed by {0}, in service and at {1} or above it by charter version {2}")]
    NotSigned(LogId, Division, u64),
    /// The parent that it names is not one.
    #[error("{0} is not a node in service by charter version {1}")]
    NoParent(Division, u64),
    /// The parent has another key now.
    #[error("the invitation names a key of {0} that it does not have by charter version {1}: a new one is needed")]
    ParentKey(Division, u64),
    /// The level is none, or not below the parent's.
    #[error("{0}: {1:?} is no level below the one of {2}")]
    Level(Division, String, Division),
    /// The division has a node, in service or not.
    #[error("{0} is a node of charter version {1} already, with other keys")]
    Taken(Division, u64),
    /// Another machine is invited, and the epoch that it is to begin does not follow the node's current one.
    #[error("{0} is not the next epoch of a node of charter version {1}: a new invitation is needed")]
    NotNext(LogId, u64),
    /// Another machine is invited under a parent that the node does not report to.
    #[error("{0} does not report to {1} by charter version {2}: a new invitation is needed")]
    Elsewhere(Division, Division, u64),
}

/// Checks an invitation by the charter: federation, who signed it, the parent and its key, the level. Its time is not looked at,
/// nor whether its division is free.
///
/// # Errors
/// [`JoinRefused`].
pub fn check_invite(signed: &SignedInvite, charter: &Charter) -> Result<(), JoinRefused> {
    let (invite, version) = (&signed.invite, charter.version());
    if invite.federation != *charter.federation() {
        return Err(JoinRefused::Federation(invite.federation.clone()));
    }
    let serves = |d: Division| charter.node(d).is_some_and(|n| !n.retired);
    let by = invite.by;
    let above = serves(by.division) && charter.is_within(invite.parent, by.division);
    let key = charter.log_key(by).filter(|_| above && charter.current_log(by.division) == Some(by));
    if !key.is_some_and(|key| signed.signed_by(&key)) {
        return Err(JoinRefused::NotSigned(by, invite.parent, version));
    }
    let parent = charter.node(invite.parent).filter(|n| !n.retired);
    let parent = parent.ok_or(JoinRefused::NoParent(invite.parent, version))?;
    if charter.by_link_key(&invite.parent_link).map(|l| l.division) != Some(invite.parent) {
        return Err(JoinRefused::ParentKey(invite.parent, version));
    }
    if !invite.level.parse::<Level>().is_ok_and(|level| level > parent.level) {
        return Err(JoinRefused::Level(invite.division, invite.level.clone(), invite.parent));
    }
    Ok(())
}

/// Whether the division of an invitation has no node yet; of one for another machine, whether the node is where the invitation
/// has it, and the epoch its next one. A node that is out of service may be replaced: a new machine is how it comes back.
///
/// # Errors
/// [`JoinRefused::Taken`], [`JoinRefused::NotNext`], [`JoinRefused::Elsewhere`].
pub fn check_free(invite: &Invite, charter: &Charter) -> Result<(), JoinRefused> {
    let version = charter.version();
    match (invite.ends(), charter.node(invite.division)) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(JoinRefused::Taken(invite.division, version)),
        (Some(ends), Some(node)) => match node.parent {
            _ if charter.current_log(invite.division) != Some(ends) => {
                Err(JoinRefused::NotNext(invite.node(), version))
            }
            Some(parent) if parent == invite.parent => Ok(()),
            _ => Err(JoinRefused::Elsewhere(invite.division, invite.parent, version)),
        },
        (Some(_), None) => Err(JoinRefused::NotNext(invite.node(), version)),
    }
}

/// Opens a request to join that may be looked at.
///
/// # Errors
/// [`JoinRefused`].
pub fn open_join(note: &str, charter: &Charter) -> Result<JoinRequest, JoinRefused> {
    let request = JoinRequest::open(note)?;
    check_invite(&request.invite, charter)?;
    check_free(&request.invite.invite, charter)?;
    Ok(request)
}

/// The node that a charter has to name if the request of a new one is given.
///
/// # Errors
/// [`JoinRefused::Level`].
pub fn node_of(request: &JoinRequest) -> Result<NewNode, JoinRefused> {
    let invite = &request.invite.invite;
    let level = invite.level.parse();
    let level = level.map_err(|_| JoinRefused::Level(invite.division, invite.level.clone(), invite.parent))?;
    Ok(NewNode {
        division: invite.division,
        name: invite.name.clone(),
        level,
        parent: Some(invite.parent),
        addresses: request.addresses.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use tally_protocol::{keys::NodeKeys, request::ProposedKeys};

    fn invite(by: &str, parent: &str, division: &str) -> Invite {
        Invite {
            federation: sample::charter("").federation().clone(),
            division: division.parse().unwrap(),
            epoch: 1,
            name: "N".into(),
            level: "county".into(),
            parent: parent.parse().unwrap(),
            parent_link: sample::keys(parent).link.public().public(),
            addresses: vec!["h:1".into()],
            authority: [0; 32],
            by: sample::keys(by).node,
            id: [1; 16],
            expires: 1,
        }
    }

    fn signed(by: &str, invite: Invite) -> SignedInvite {
        invite.sign(&sample::keys(by).log).unwrap()
    }

    fn checked(by: &str, parent: &str) -> Result<(), JoinRefused> {
        check_invite(&signed(by, invite(by, parent, "350104")), &sample::charter(""))
    }

    #[test]
    fn whoever_is_at_the_parent_or_above_invites() {
        assert_eq!(checked("350100", "350100"), Ok(()));
        assert_eq!(checked("350000", "350100"), Ok(()));
        assert!(matches!(checked("350102", "350100"), Err(JoinRefused::NotSigned(..))), "a county at its city");
        assert!(matches!(checked("350128", "350100"), Err(JoinRefused::NotSigned(..))), "another branch");
        assert!(matches!(checked("350104", "350104"), Err(JoinRefused::NotSigned(..))), "not a node");
        // In somebody else's name.
        let forged = signed("350102", invite("350100", "350100", "350104"));
        assert!(matches!(check_invite(&forged, &sample::charter("")), Err(JoinRefused::NotSigned(..))));
    }

    #[test]
    fn the_parent_its_key_and_the_level_have_to_fit() {
        let with = |change: &dyn Fn(&mut Invite)| {
            let mut invite = invite("350000", "350100", "350104");
            change(&mut invite);
            check_invite(&signed("350000", invite), &sample::charter(""))
        };
        assert_eq!(with(&|_| ()), Ok(()));
        assert!(matches!(with(&|i| i.parent_link = [7; 32]), Err(JoinRefused::ParentKey(..))));
        let others = sample::keys("350102").link.public().public();
        assert!(matches!(with(&|i| i.parent_link = others), Err(JoinRefused::ParentKey(..))));
        assert!(matches!(with(&|i| i.level = "prefecture".into()), Err(JoinRefused::Level(..))));
        assert!(matches!(with(&|i| i.level = "village".into()), Err(JoinRefused::Level(..))));
        let federation = || Federation::try_from("other.example".to_owned()).unwrap();
        assert!(matches!(with(&|i| i.federation = federation()), Err(JoinRefused::Federation(_))));
    }

    /// Another machine takes a node's place in its next epoch, and in no other, under the parent that it has.
    #[test]
    fn another_machine_is_invited_for_the_next_epoch_alone() {
        let charter = sample::charter("");
        let free = |division: &str, parent: &str, epoch| {
            check_free(&Invite { epoch, ..invite("350000", parent, division) }, &charter)
        };
        assert_eq!(free("350102", "350100", 2), Ok(()));
        for epoch in [3, u32::MAX] {
            assert!(matches!(free("350102", "350100", epoch), Err(JoinRefused::NotNext(..))), "{epoch}");
        }
        assert!(matches!(free("350104", "350100", 2), Err(JoinRefused::NotNext(..))), "it is no node");
        assert!(matches!(free("350102", "350000", 2), Err(JoinRefused::Elsewhere(..))));
        assert!(matches!(free("350102", "350100", 1), Err(JoinRefused::Taken(..))));
    }

    #[test]
    fn a_division_that_has_a_node_is_taken() {
        let request = |division: &str| {
            let invite = signed("350100", invite("350100", "350100", division));
            let f = invite.invite.federation.clone();
            let keys = NodeKeys::derive(&f, invite.invite.node(), &[9; 32]);
            let keys_of = ProposedKeys::of(&keys);
            let request =
                JoinRequest { invite, time: 1, addresses: Vec::new(), nonce: [0; 16], keys: keys_of, answer: None };
            request.sign(&keys)
        };
        let charter = sample::charter("");
        let request_104 = open_join(&request("350104"), &charter).unwrap();
        let node = node_of(&request_104).unwrap();
        assert_eq!(node.division, request_104.node().division);
        assert_eq!((node.parent, node.level), ("350100".parse().ok(), Level::County));
        assert!(matches!(open_join(&request("350102"), &charter), Err(JoinRefused::Taken(..))));
    }
}
