//! Who is signed in, logins under way, and visas that came with them. All live in memory only: a node that starts again knows nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acequia_types::{Digest, Timestamp};

use crate::AccessError;
use crate::oidc::Begun;
use crate::passport::Visa;
use crate::readers::ReaderId;

/// How long a session lasts without a request, in seconds.
const IDLE_S: i64 = 2 * 3600;
/// How long it lasts at most, in seconds.
const LONGEST_S: i64 = 12 * 3600;
/// How long signing in at the provider may take, in seconds.
const LOGIN_S: i64 = 15 * 60;
/// Sessions at once; beyond it nobody new comes in until some have run out.
const MOST: usize = 100_000;
/// Logins under way at once; beyond it the oldest goes.
const MOST_BEGUN: usize = 20_000;

/// 256 bits at random, in hexadecimal digits.
pub(crate) fn random() -> Result<String, AccessError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| AccessError::Randomness)?;
    Ok(hex::encode(bytes))
}

/// Somebody who signed in.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) reader: ReaderId,
    /// As the provider says; for the own pages, and for the request that the reader sends off.
    pub(crate) name: Option<String>,
    pub(crate) affiliation: Option<String>,
    seen: Timestamp,
    begun: Timestamp,
}

#[derive(Default)]
struct Logins {
    all: HashMap<Digest, Begun>,
    /// Oldest first; what was taken meanwhile is skipped.
    order: VecDeque<Digest>,
}

#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<Digest, Session>>,
    logins: Mutex<Logins>,
    /// Of readers, from their last login. They end by themselves.
    visas: Mutex<HashMap<ReaderId, Arc<Vec<Visa>>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole after any panic: every change is one insertion or removal.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lasts(session: &Session, now: Timestamp) -> bool {
    now.unix_s() - session.seen.unix_s() <= IDLE_S
        && now.unix_s() - session.begun.unix_s() <= LONGEST_S
        // A clock that was set back ends sessions rather than making them last.
        && now >= session.begun
}

impl Sessions {
    /// Remembers a login under way.
    pub(crate) fn begin_login(&self, state: &str, begun: Begun) {
        let mut logins = locked(&self.logins);
        while logins.order.len() >= MOST_BEGUN {
            if let Some(oldest) = logins.order.pop_front() {
                logins.all.remove(&oldest);
            }
        }
        let key = Digest::of(state.as_bytes());
        logins.order.push_back(key);
        logins.all.insert(key, begun);
    }

    /// The login of a state, once, for the browser that began it.
    pub(crate) fn take_login(&self, state: &str, browser: &Digest, now: Timestamp) -> Option<Begun> {
        let key = Digest::of(state.as_bytes());
        let mut logins = locked(&self.logins);
        // Whoever brings the state from another browser ends nobody's login.
        logins.all.get(&key).filter(|begun| begun.browser == *browser)?;
        let begun = logins.all.remove(&key)?;
        let age = now.unix_s() - begun.at.unix_s();
        (0..=LOGIN_S).contains(&age).then_some(begun)
    }

    /// Begins a session; its token goes to the browser and is kept as a digest. `false` when too many are open.
    pub(crate) fn begin(
        &self,
        token: &str,
        (reader, name, affiliation): (ReaderId, Option<String>, Option<String>),
        now: Timestamp,
    ) -> bool {
        let session = Session { reader, name, affiliation, seen: now, begun: now };
        let mut open = locked(&self.open);
        if open.len() >= MOST {
            open.retain(|_, session| lasts(session, now));
        }
        if open.len() >= MOST {
            return false;
        }
        open.insert(Digest::of(token.as_bytes()), session);
        true
    }

    /// The session of a token, which goes on by being used.
    pub(crate) fn find(&self, token: &str, now: Timestamp) -> Option<Session> {
        let digest = Digest::of(token.as_bytes());
        let mut open = locked(&self.open);
        let session = open.get_mut(&digest)?;
        if !lasts(session, now) {
            open.remove(&digest);
            return None;
        }
        session.seen = now;
        Some(session.clone())
    }

    pub(crate) fn end(&self, token: &str) {
        locked(&self.open).remove(&Digest::of(token.as_bytes()));
    }

    /// Keeps the visas of a reader's last login in place of those of the one before.
    pub(crate) fn keep_visas(&self, reader: &ReaderId, visas: Vec<Visa>, now: Timestamp) {
        let mut all = locked(&self.visas);
        all.retain(|_, visas| visas.iter().any(|visa| visa.counts(now)));
        if visas.is_empty() || all.len() >= MOST {
            all.remove(reader);
        } else {
            all.insert(reader.clone(), Arc::new(visas));
        }
    }

    pub(crate) fn visas(&self, reader: &ReaderId) -> Arc<Vec<Visa>> {
        locked(&self.visas).get(reader).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_s(1_800_000_000 + second)
    }

    fn login(browser: &str) -> Begun {
        let verifier = Zeroizing::new(String::new());
        Begun {
            nonce: String::new(),
            verifier,
            next: "/".to_owned(),
            browser: Digest::of(browser.as_bytes()),
            at: at(0),
        }
    }

    #[test]
    fn a_login_ends_once_in_its_own_browser_and_in_time() {
        let sessions = Sessions::default();
        let take = |state: &str, browser: &str, second| {
            sessions.take_login(state, &Digest::of(browser.as_bytes()), at(second)).is_some()
        };
        sessions.begin_login("s", login("own"));
        assert!(!take("other", "own", 1) && !take("s", "other", 1));
        assert!(take("s", "own", 1) && !take("s", "own", 1), "once");
        for second in [-1, LOGIN_S + 1] {
            sessions.begin_login("s", login("own"));
            assert!(!take("s", "own", second));
        }
        for number in 0..=MOST_BEGUN {
            sessions.begin_login(&number.to_string(), login("own"));
        }
        assert!(!take("0", "own", 1) && take("1", "own", 1), "the oldest gives way");
    }

    #[test]
    fn sessions_of_readers_end_when_idle_old_or_the_clock_goes_back() {
        let reader = ReaderId::of(&[1; 32], "https://issuer.example", "subject");
        let begin = || {
            let sessions = Sessions::default();
            assert!(sessions.begin("token", (reader.clone(), None, None), at(0)));
            sessions
        };
        let sessions = begin();
        assert!(sessions.find("other", at(0)).is_none());
        let mut now = 0;
        while now <= LONGEST_S {
            assert!(sessions.find("token", at(now)).is_some(), "{now}");
            now += IDLE_S;
        }
        assert!(sessions.find("token", at(now)).is_none(), "too old");
        assert!(begin().find("token", at(IDLE_S + 1)).is_none());
        assert!(begin().find("token", at(-1)).is_none());
        let sessions = begin();
        sessions.end("token");
        assert!(sessions.find("token", at(1)).is_none());
    }
}
