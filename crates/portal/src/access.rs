//! Who may press which button: Cedar policies (`policies/`), asked for every request.
//!
//! Source: the Cedar policy language, docs.cedarpolicy.com; reference design §2.4, threat T18.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema,
};

/// The policies, as they are written.
pub(crate) const POLICIES: &str = include_str!("../policies/portal.cedar");
const SCHEMA: &str = include_str!("../policies/portal.cedarschema");

/// Longest stay since the passkey was used that a page counts in seconds; beyond it every policy is as strict.
pub(crate) const NOT_SIGNED_IN_S: i64 = 86_400;

macro_rules! actions {
    ($($action:ident $word:literal;)*) => {
        /// What is asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Action { $($action),* }

        impl Action {
            /// The word of the policies.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$action => $word),* }
            }

            /// As the policies name it.
            pub(crate) const fn named(self) -> &'static str {
                match self { $(Self::$action => concat!("Action::\"", $word, "\"")),* }
            }
        }
    };
}

actions! {
    Read "read";
    CheckReceipt "check-receipt";
    SignIn "sign-in";
    Join "join";
    SignOut "sign-out";
    SeePasskeys "see-passkeys";
    AddPasskey "add-passkey";
    RemovePasskey "remove-passkey";
    SeeRecord "see-record";
    Allow "allow";
    Refuse "refuse";
    Withdraw "withdraw";
    Ask "ask";
    SeeRequest "see-request";
    TakeBack "take-back";
    SeeSource "see-source";
    Permit "permit";
    EndPermission "end-permission";
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Nobody that is known.
    Visitor,
    /// Somebody with a code, for this account.
    Joining { account: String },
    /// A donor.
    Donor { account: String },
    /// An institution.
    Institution { account: String },
}

/// About what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    /// The node.
    Node,
    /// An account.
    Account { account: String },
    /// The record of a donor's account.
    Record { account: String },
    /// A request of a donor's account.
    Request { account: String },
    /// What the institution of an account gave.
    Source { account: String },
}

/// How the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Situation {
    /// From a page of this node.
    pub(crate) same_origin: bool,
    /// Since the passkey was used.
    pub(crate) signed_in_s: i64,
}

struct Policies {
    set: PolicySet,
    schema: Schema,
}

static LOADED: LazyLock<Option<Policies>> = LazyLock::new(|| {
    let set = POLICIES.parse().ok()?;
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
    Some(Policies { set, schema })
});

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(kind.parse::<EntityTypeName>().ok()?, EntityId::new(id)))
}

fn entity(kind: &str, account: Option<&str>) -> Option<Entity> {
    let account_of = account.map(|text| ("account".to_owned(), RestrictedExpression::new_string(text.to_owned())));
    let attributes: HashMap<String, RestrictedExpression> = account_of.into_iter().collect();
    Entity::new(uid(kind, account.unwrap_or("this"))?, attributes, HashSet::new()).ok()
}

fn decide(principal: &Principal, action: Action, resource: &Resource, situation: Situation) -> Option<Decision> {
    let policies = LOADED.as_ref()?;
    let asks = match principal {
        Principal::Visitor => entity("Visitor", None),
        Principal::Joining { account } => entity("Joining", Some(account)),
        Principal::Donor { account } => entity("Donor", Some(account)),
        Principal::Institution { account } => entity("Institution", Some(account)),
    }?;
    let about = match resource {
        Resource::Node => entity("Node", None),
        Resource::Account { account } => entity("Account", Some(account)),
        Resource::Record { account } => entity("Record", Some(account)),
        Resource::Request { account } => entity("Request", Some(account)),
        Resource::Source { account } => entity("Source", Some(account)),
    }?;
    let context = Context::from_pairs([
        ("sameOrigin".to_owned(), RestrictedExpression::new_bool(situation.same_origin)),
        ("signedInSeconds".to_owned(), RestrictedExpression::new_long(situation.signed_in_s)),
    ])
    .ok()?;
    let request =
        Request::new(asks.uid(), uid("Action", action.as_str())?, about.uid(), context, Some(&policies.schema)).ok()?;
    let entities = Entities::from_entities([asks, about], Some(&policies.schema)).ok()?;
    let response = Authorizer::new().is_authorized(&request, &policies.set, &entities);
    // A policy that cannot be evaluated may have been one that forbids.
    if response.diagnostics().errors().next().is_some() {
        return None;
    }
    Some(response.decision())
}

/// Whether it is allowed. What cannot be decided is not.
pub(crate) fn allowed(principal: &Principal, action: Action, resource: &Resource, situation: Situation) -> bool {
    decide(principal, action, resource, situation) == Some(Decision::Allow)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use cedar_policy::{ValidationMode, Validator};

    use super::*;
    use crate::routes::{About, Route, Verb};

    #[test]
    fn the_policies_fit_their_schema() {
        let policies = LOADED.as_ref().expect("policies and schema can be read");
        let checked = Validator::new(policies.schema.clone()).validate(&policies.set, ValidationMode::Strict);
        assert!(checked.validation_passed(), "{checked}");
        assert_eq!(checked.validation_warnings().count(), 0, "{checked}");
    }

    fn resource(about: About, account: &str) -> Resource {
        let account = account.to_owned();
        match about {
            About::Node => Resource::Node,
            About::Account => Resource::Account { account },
            About::Record => Resource::Record { account },
            About::Request => Resource::Request { account },
            About::Source => Resource::Source { account },
        }
    }

    /// Everybody against every route, with the own and with somebody else's; a change of the matrix is reviewed as text.
    #[test]
    fn the_matrix_of_roles_and_routes_is_the_reviewed_one() {
        let own = || "own".to_owned();
        let roles = [
            ("visitor", Principal::Visitor, NOT_SIGNED_IN_S),
            ("joining", Principal::Joining { account: own() }, NOT_SIGNED_IN_S),
            ("donor", Principal::Donor { account: own() }, 60),
            ("donor, an hour later", Principal::Donor { account: own() }, 3600),
            ("institution", Principal::Institution { account: own() }, 60),
            ("institution, an hour later", Principal::Institution { account: own() }, 3600),
        ];
        let mut matrix = String::from(
            "# Who may press which button, by the policies in policies/. Made by a test of access.rs; reviewed by people.\n\
             # route: method, address, action, about what\n\
             # What is not listed is the hub: published things, read by everybody, changed by nobody over the network.\n\
             # own / other: about what is one's own, about somebody else's; from elsewhere: the own, sent from a page of another node\n",
        );
        for route in Route::ALL {
            let facts = route.facts();
            let verb = if facts.verb == Verb::Get { "GET" } else { "POST" };
            writeln!(matrix, "\n{verb} {}  {}  {:?}", facts.path, facts.action.as_str(), facts.about).unwrap();
            for (role, principal, signed_in_s) in &roles {
                let ask = |whose: &str, same_origin| {
                    let situation = Situation { same_origin, signed_in_s: *signed_in_s };
                    let yes = allowed(principal, facts.action, &resource(facts.about, whose), situation);
                    if yes { "yes" } else { "no" }
                };
                let other = if facts.about == About::Node { "-" } else { ask("other", true) };
                writeln!(
                    matrix,
                    "  {role:<28} own {:<4} other {other:<4} from elsewhere {}",
                    ask("own", true),
                    ask("own", false)
                )
                .unwrap();
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/matrix.txt");
        if std::env::var_os("ACEQUIA_REVIEW").is_some() {
            std::fs::write(path, &matrix).unwrap();
        }
        let reviewed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(matrix, reviewed, "review the change, then run with ACEQUIA_REVIEW=1");
        // Whatever the snapshot says: nobody reaches what is somebody else's, and no act comes from elsewhere.
        for line in matrix.lines() {
            assert!(!line.contains("other yes"), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_denied() {
        let situation = Situation { same_origin: true, signed_in_s: 0 };
        let donor = Principal::Donor { account: "a".to_owned() };
        assert!(allowed(&donor, Action::Withdraw, &Resource::Record { account: "a".to_owned() }, situation));
        // An action about something it is not about is no request by the schema.
        assert!(!allowed(&donor, Action::Withdraw, &Resource::Node, situation));
        assert!(!allowed(&donor, Action::Permit, &Resource::Record { account: "a".to_owned() }, situation));
    }
}
