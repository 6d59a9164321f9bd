//! What members of the network say to one another: messages, cards, rosters, shares and halves of sums.

#![no_main]

use acequia_learn::{Message, PartTotal, Plan, Roster, Run};
use acequia_net::{Member, Roster as Members};
use libfuzzer_sys::fuzz_target;

const PLAN: &str = include_str!("../../examples/breast-cancer/survival.plan.toml");

fuzz_target!(|bytes: &[u8]| {
    acequia_net::read_anything(bytes);
    let plan = Plan::from_toml(PLAN).expect("the plan of the example");
    let roster = Roster::new(["north".to_owned(), "south".to_owned()]).expect("two sites");
    let ask = Run::new(&plan, &roster).ask();
    // As somebody might say it who knows the question: numbers in any packing.
    let [kind, shift, width, numbers @ ..] = bytes else { return };
    let kind = ["plain", "masked", "seed"][usize::from(kind % 3)];
    let context = ask.context();
    let head = format!(
        "{{\"site\":\"north\",\"round\":1,\"context\":\"{context}\",\"kind\":\"{kind}\",\"packing\":[{shift},{width}]}}\n"
    );
    if let Ok(message) = Message::from_bytes("north", &[head.as_bytes(), numbers].concat(), &plan, &ask) {
        assert_eq!(message.site, "north");
        // Sums of variables as they come have 128 bits.
        let again = Message::from_bytes("north", &message.to_bytes(), &plan, &ask).expect("what is written is read");
        assert_eq!(again, message);
    }
    let head = format!("{{\"round\":1,\"context\":\"{context}\",\"sites\":[\"north\",\"south\"]}}\n");
    if let Ok(total) = PartTotal::from_bytes("council", &[head.as_bytes(), numbers].concat(), &plan, &ask) {
        let again = PartTotal::from_bytes("council", &total.to_bytes(), &plan, &ask).expect("what is written is read");
        assert_eq!(again, total);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(card) = Member::from_json(text) {
        assert_eq!(Member::from_json(&card.to_json()).expect("what is written is read"), card);
        // Signed by nobody: never believed.
        assert!(Members::from_json(text, &card.key).is_err());
    }
});
