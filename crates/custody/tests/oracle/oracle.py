"""Effective consent, stated a second time.

Reads one case per line from standard input (JSON: history, query, policy) and writes one answer per line:
`permit DAY-or-none`, `refer REASON,…` or `deny REASON,…`. Written from the rules in `crates/custody/src/evaluate.rs`, as
sets of events and their latest members, without looking at how the program folds over them. Python's standard library only.
"""

import datetime
import json
import sys

NEEDED_LEVEL = {"contact": 0, "collect": 1, "use": 2, "republish": 3}
LEVELS = ["no-contact", "no-new-collection", "no-further-use", "leave-next-versions"]


def instant(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def day_of(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat()


def day_passed(last, day):
    return last is not None and last < day  # ISO days compare as text


def soonest(days):
    days = [day for day in days if day is not None]
    return min(days) if days else None


def at_newest(events):
    """The events at the newest instant among them."""
    newest = max(event["t"] for event in events)
    return [event for event in events if event["t"] == newest]


class Case:
    def __init__(self, case):
        self.query, self.policy, self.facts = case["query"], case["policy"], case["query"]["facts"]
        self.purpose = self.query["purpose"]
        self.t = instant(self.query["valid_at"])
        self.day = day_of(self.t)
        everything = [dict(event, t=instant(event["at"])) for event in case["history"]]
        learnt = [instant(event["known_at"]) for event in everything]
        if self.query["known_at"] is None:
            self.known, self.wrong_clock = everything, any(when > self.t for when in learnt)
        else:
            known_at = instant(self.query["known_at"])
            self.known = [event for event, when in zip(everything, learnt) if when <= known_at]
            self.wrong_clock = False
        self.past = [event for event in self.known if event["t"] <= self.t]

    def kinds(self, *kinds, before=None):
        limit = self.t if before is None else before
        return [event for event in self.past if event["event"] in kinds and event["t"] <= limit]

    def about(self, events):
        return [event for event in events if self.purpose in event["purposes"]]

    def representation(self, when):
        """(deciding alone, last day) of the representation in force at an instant, or None."""
        begins = [event for event in self.kinds("represent", before=when) if event.get("by") == "desk"]
        ends = [event for event in self.kinds("end-representation", before=when) if event.get("by") == "desk"]
        if not begins:
            return None
        group = at_newest(begins)
        if any(end["t"] >= group[0]["t"] for end in ends):
            return None
        last = soonest([event.get("expires_on") for event in group])
        if day_passed(last, day_of(when)):
            return None
        return all(event["authority"] == "proxy" for event in group), last

    def can_widen(self, event, desk_too=False):
        by, in_force = event.get("by", "donor"), self.representation(event["t"])
        if by == "donor":
            return in_force is None or in_force[0]
        if by == "representative":
            return in_force is not None
        return by == "desk" and desk_too

    def is_on(self, ons, offs):
        """Whether something switched on by some events and off by others is on; on wins at one instant."""
        last_on = max([event["t"] for event in ons], default=None)
        last_off = max([event["t"] for event in offs], default=None)
        return last_on is not None and (last_off is None or last_on >= last_off)

    def allowed_since(self, gives, stops):
        """First instant of the unbroken row of consents to the purpose, all by one side, that ends with the newest."""
        first, before = None, None
        by_representative = lambda event: event.get("by") == "representative"
        for t in sorted({event["t"] for event in gives}):
            group = [event for event in gives if event["t"] == t]
            if before is not None:
                stopped = any(before <= stop["t"] < t for stop in stops)
                lapsed = day_passed(soonest([e.get("expires_on") for e in gives if e["t"] == before]), day_of(t))
                side = any(by_representative(event) for event in gives if event["t"] == before)
                if stopped or lapsed or any(by_representative(event) != side for event in group):
                    first = None
            good = len(self.about(group)) == len(group) and all(self.can_widen(event) for event in group)
            first = (t if first is None else first) if good else None
            before = t
        return first

    def person(self):
        """(reason, None) or (None, consents that hold together)."""
        if not self.known:
            return "unknown", None
        gives = self.kinds("give")
        stops = self.about(self.kinds("refuse")) + self.kinds("invalidate")
        for event in self.kinds("withdraw"):
            if LEVELS.index(event.get("level", "leave-next-versions")) >= NEEDED_LEVEL[self.query["operation"]]:
                stops.append(event)
        given_at = max([event["t"] for event in gives], default=None)
        group = at_newest(gives) if gives else []
        names_it = bool(group) and len(self.about(group)) == len(group)
        if stops:
            last = at_newest(stops)
            asked_at = max([event["t"] for event in self.about(gives) if self.can_widen(event)], default=None)
            undone_at = given_at if names_it else asked_at
            if given_at is None or given_at <= last[0]["t"] or undone_at is None or undone_at <= last[0]["t"]:
                kinds = {event["event"] for event in last}
                for kind, reason in (("withdraw", "withdrawn"), ("invalidate", "invalidated"), ("refuse", "refused")):
                    if kind in kinds:
                        return reason, None
        if not names_it:
            coming = [e for e in self.known if e["event"] == "give" and e["t"] > self.t and self.purpose in e["purposes"]]
            return ("not-yet" if coming else "not-asked"), None
        if not all(self.can_widen(event) for event in group):
            return "no-authority", None
        if any(event.get("by") == "representative" for event in group) and self.representation(self.t) is None:
            return "representation-ended", None
        if self.kinds("died") and not all((event.get("conditions") or {}).get("after_death") for event in group):
            return "died", None
        if any(day_passed(event.get("expires_on"), self.day) for event in group):
            return "expired", None
        if self.purpose == "open-publication" and self.t < self.allowed_since(gives, stops) + self.policy["cooling-off-s"]:
            return "cooling-off", None
        versions = [(event.get("notice") or {}).get("version", 0) for event in group]
        if min(versions) < self.policy["notice-version-min"]:
            return "notice-outdated", None
        different = {json.dumps(event["conditions"], sort_keys=True) for event in group if event.get("conditions") is not None}
        if len(different) > 4:
            return "unknown", None
        return None, group

    def duo(self, conditions, last_day):
        f = self.facts
        get = f.get
        reach = f.get("reach", "unknown")
        country = reach["country"] if isinstance(reach, dict) else None
        true, false = (lambda name: get(name) is True), (lambda name: get(name) is False)
        listed = lambda name, kind: get(name) is not None and get(name) in conditions.get(kind, [])
        must = {
            "DUO:0000004": lambda: True,
            "DUO:0000006": lambda: true("health-research"),
            "DUO:0000007": lambda: bool(set(get("diseases") or []) & set(conditions.get("diseases", []))),
            "DUO:0000011": lambda: true("ancestry-research"),
            "DUO:0000015": lambda: false("methods-research"),
            "DUO:0000016": lambda: true("genetic-study"),
            "DUO:0000018": lambda: true("not-for-profit") and false("commercial"),
            "DUO:0000022": lambda: country is not None and country in conditions.get("countries", []),
            "DUO:0000025": lambda: last_day is not None,
            "DUO:0000026": lambda: listed("user", "users"),
            "DUO:0000027": lambda: listed("project", "projects"),
            "DUO:0000028": lambda: listed("institution", "institutions"),
            "DUO:0000042": lambda: true("research"),
            "DUO:0000043": lambda: true("clinical-care"),
            "DUO:0000044": lambda: false("ancestry-research"),
            "DUO:0000045": lambda: true("not-for-profit"),
            "DUO:0000046": lambda: false("commercial"),
        }
        ask = {
            "DUO:0000021": ("ethics-approved", "ask-ethics"),
            "DUO:0000019": ("will-publish", "ask-promise"),
            "DUO:0000020": ("will-collaborate", "ask-promise"),
            "DUO:0000029": ("will-return", "ask-promise"),
            "DUO:0000024": ("will-wait", "ask-promise"),
        }
        reasons = set()
        for term in conditions.get("duo", []):
            if term == "DUO:0000012":
                reasons.add("ask-research-specific")
            elif term in must:
                if not must[term]():
                    reasons.add("condition")
            else:
                fact, reason = ask[term]
                if get(fact) is None:
                    reasons.add(reason)
                elif not get(fact):
                    reasons.add("condition")
        classes = conditions.get("data_classes")
        if classes is not None and self.query["data_class"] not in classes:
            reasons.add("data-class")
        return reasons

    def paper(self, paper):
        """(valid, last day)"""
        if isinstance(paper, dict):
            return not day_passed(paper["until"], self.day), paper["until"]
        return paper == "not-needed", None

    def answer(self):
        if not self.known:
            reasons, lasts = {"unknown"}, []
        else:
            reasons, lasts = set(), []
        reason, group = self.person()
        if reason:
            reasons.add(reason)
        else:
            last_day = soonest([event.get("expires_on") for event in group])
            lasts.append(last_day)
            if any(event.get("by") == "representative" for event in group):
                lasts.append(self.representation(self.t)[1])
            for event in group:
                if event.get("conditions") is not None:
                    reasons |= self.duo(event["conditions"], last_day)
        if self.wrong_clock:
            reasons.add("clock")
        if self.kinds("order-erasure"):
            reasons.add("erased")
        # Institution: the newest instant at which it permitted or ended; an end wins.
        permits = [event for event in self.kinds("institution-permits") if event.get("by") == "institution"]
        ends = self.kinds("institution-ends")
        if permits or ends:
            newest = at_newest(permits + ends)
            good = all(
                event["event"] == "institution-permits"
                and self.purpose in event["purposes"]
                and not day_passed(event.get("expires_on"), self.day)
                for event in newest
            )
            if good:
                lasts.extend(event.get("expires_on") for event in newest)
            else:
                reasons.add("institution")
        elif self.query["institutional"]:
            reasons.add("institution")
        # Opt-out: since the first one after the last reversal.
        back = max([e["t"] for e in self.kinds("reverse-opt-out") if self.can_widen(e)], default=None)
        outs = [e["t"] for e in self.kinds("opt-out") if back is None or e["t"] >= back]
        if outs:
            approved = self.query["permit_approved_at"]
            if approved is None or instant(approved) >= min(outs):
                reasons.add("opted-out")
        lifts = [e for e in self.kinds("lift-restriction") if self.can_widen(e, desk_too=True)]
        if self.is_on(self.kinds("restrict"), lifts):
            reasons.add("restricted")
        settled = [e for e in self.about(self.kinds("settle-objection")) if self.can_widen(e, desk_too=True)]
        if self.is_on(self.about(self.kinds("object")), settled):
            reasons.add("objected")
        for paper, name in ((self.query["agreement"], "agreement"), (self.policy["assessment"], "assessment")):
            valid, last = self.paper(paper)
            lasts.append(last)
            if not valid:
                reasons.add(name)
        if self.policy["countries"] is not None:
            reach = self.facts.get("reach", "unknown")
            if not (isinstance(reach, dict) and reach["country"] in self.policy["countries"]):
                reasons.add("country")
        if self.purpose not in self.policy["purposes"]:
            reasons.add("policy")
        if self.purpose in self.policy["refers"]:
            reasons.add("ask-policy")
        most = self.policy["state-age-max-s"]
        if most is not None and self.t - instant(self.query["state_as_of"]) > most:
            reasons.add("stale")
        if not reasons:
            return "permit " + (soonest(lasts) or "none")
        kind = "refer" if all(reason.startswith("ask-") for reason in reasons) else "deny"
        return kind + " " + ",".join(sorted(reasons))


for line in sys.stdin:
    print(Case(json.loads(line)).answer())
