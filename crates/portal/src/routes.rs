//! Which address does what. Each route names its action, and the program does not build when the policies name no such action.

use axum::http::Method;

use crate::access::{Action, POLICIES};

/// Whether a route shows or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
}

/// About what a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The node itself.
    Node,
    /// The account of who asks.
    Account,
    /// The record of the donor who asks.
    Record,
    /// The request with the number in the address.
    Request,
    /// What the institution that asks gave.
    Source,
}

/// Who reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Page,
    /// The script of the pages, or a program.
    Json,
}

/// What there is to say of a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(crate) about: About,
    pub(crate) form: Form,
}

macro_rules! routes {
    ($($(#[$doc:meta])* $route:ident: $verb:ident $path:literal $action:ident $about:ident $form:ident;)*) => {
        /// An address and a method.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Route { $($(#[$doc])* $route),* }

        impl Route {
            /// Every route.
            pub(crate) const ALL: &[Self] = &[$(Self::$route),*];

            pub(crate) const fn facts(self) -> Facts {
                match self {
                    $(Self::$route => Facts {
                        verb: Verb::$verb,
                        path: $path,
                        action: Action::$action,
                        about: About::$about,
                        form: Form::$form,
                    }),*
                }
            }
        }
    };
}

routes! {
    /// The script that talks to authenticators; its address holds its digest.
    Script: Get "/assets/{passkey.js}" Read Node Json;
    /// The key that receipts and notices are signed with.
    Keys: Get "/.well-known/jwks.json" Read Node Json;
    /// What a receipt says, for whoever holds one.
    CheckReceipt: Get "/receipt" CheckReceipt Node Page;

    SignInPage: Get "/you/sign-in" Read Node Page;
    SignInStart: Post "/you/sign-in/start" SignIn Node Json;
    SignInFinish: Post "/you/sign-in/finish" SignIn Node Json;
    /// Where a code is entered.
    JoinPage: Get "/you/join" Read Node Page;
    Join: Post "/you/join" Join Node Page;
    SignOut: Post "/you/sign-out" SignOut Node Page;

    Passkeys: Get "/you/passkeys" SeePasskeys Account Page;
    PasskeyStart: Post "/you/passkeys/start" AddPasskey Account Json;
    PasskeyFinish: Post "/you/passkeys/finish" AddPasskey Account Json;
    PasskeyRemove: Post "/you/passkeys/remove" RemovePasskey Account Page;

    You: Get "/you" SeeRecord Record Page;
    /// What a donor reads before allowing something.
    AllowPage: Get "/you/allow" SeeRecord Record Page;
    Allow: Post "/you/allow" Allow Record Page;
    Refuse: Post "/you/refuse" Refuse Record Page;
    WithdrawPage: Get "/you/withdraw" SeeRecord Record Page;
    Withdraw: Post "/you/withdraw" Withdraw Record Page;
    /// What followed from a withdrawal.
    Report: Get "/you/report" SeeRecord Record Page;
    Timeline: Get "/you/timeline" SeeRecord Record Page;
    Receipt: Get "/you/receipt" SeeRecord Record Page;
    ReceiptJson: Get "/you/receipt.json" SeeRecord Record Json;
    Requests: Get "/you/requests" SeeRecord Record Page;
    Ask: Post "/you/requests" Ask Record Page;
    Request: Get "/you/requests/{number}" SeeRequest Request Page;
    TakeBack: Post "/you/requests/{number}/take-back" TakeBack Request Page;

    Institution: Get "/institution" SeeSource Source Page;
    Permit: Post "/institution/permit" Permit Source Page;
    EndPermission: Post "/institution/end" EndPermission Source Page;
}

/// Whether a text holds another, at compile time.
const fn holds(text: &[u8], part: &[u8]) -> bool {
    let mut at = 0;
    while at + part.len() <= text.len() {
        let mut same = 0;
        while same < part.len() && text[at + same] == part[same] {
            same += 1;
        }
        if same == part.len() {
            return true;
        }
        at += 1;
    }
    false
}

// A route without a policy does not build.
const _: () = {
    let mut at = 0;
    while at < Route::ALL.len() {
        assert!(
            holds(POLICIES.as_bytes(), Route::ALL[at].facts().action.named().as_bytes()),
            "a route without a policy"
        );
        at += 1;
    }
};

/// What an address and a method mean here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A route, with the number in the address.
    Route(Route, Option<u64>),
    /// The address is ours, the method is not.
    OtherMethod(&'static str),
    /// Not ours.
    Elsewhere,
    /// Under our addresses, but there is nothing.
    Nothing,
}

/// Whether a path is one of a route; the number in it.
fn matches(pattern: &str, path: &str) -> Option<Option<u64>> {
    if pattern == "/assets/{passkey.js}" {
        return (path == crate::pages::script_path()).then_some(None);
    }
    let Some((before, after)) = pattern.split_once("{number}") else { return (pattern == path).then_some(None) };
    let number = path.strip_prefix(before)?.strip_suffix(after)?;
    // One way to write a number, so that one request has one address.
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    plain.then(|| number.parse().ok()).flatten().map(Some)
}

/// Finds the route of an address.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let verb = match *method {
        Method::GET | Method::HEAD => Some(Verb::Get),
        Method::POST => Some(Verb::Post),
        _ => None,
    };
    let (mut gets, mut posts) = (false, false);
    for route in Route::ALL {
        let facts = route.facts();
        let Some(number) = matches(facts.path, path) else { continue };
        if verb == Some(facts.verb) {
            return Found::Route(*route, number);
        }
        gets |= facts.verb == Verb::Get;
        posts |= facts.verb == Verb::Post;
    }
    match (gets, posts) {
        (true, true) => Found::OtherMethod("GET, HEAD, POST"),
        (true, false) => Found::OtherMethod("GET, HEAD"),
        (false, true) => Found::OtherMethod("POST"),
        (false, false) => {
            let ours = ["/you", "/institution"]
                .iter()
                .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
            if ours { Found::Nothing } else { Found::Elsewhere }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_whole_and_by_method() {
        let find = |method: Method, path: &str| super::find(&method, path);
        assert_eq!(find(Method::GET, "/you/"), Found::Route(Route::You, None));
        assert_eq!(find(Method::HEAD, "/you/requests/12"), Found::Route(Route::Request, Some(12)));
        assert_eq!(find(Method::POST, "/you/requests/12/take-back"), Found::Route(Route::TakeBack, Some(12)));
        for nothing in ["/you/requests/012", "/you/requests/-1", "/you/requests/1/2", "/you/x", "/institution/x"] {
            assert_eq!(find(Method::GET, nothing), Found::Nothing, "{nothing}");
        }
        assert_eq!(find(Method::GET, "/you/requests/99999999999999999999"), Found::Nothing);
        assert_eq!(find(Method::GET, "/you/refuse"), Found::OtherMethod("POST"));
        assert_eq!(find(Method::DELETE, "/you/requests"), Found::OtherMethod("GET, HEAD, POST"));
        for elsewhere in ["/", "/yours", "/datasets/a/b", "/assets/style.css"] {
            assert_eq!(find(Method::GET, elsewhere), Found::Elsewhere, "{elsewhere}");
        }
    }
}
