"""The lists of attributes: people drawn from them, and how their persona reads."""

from __future__ import annotations

import random
import re
from pathlib import Path

from convai.text.compose.forms import Parts, fill, read_parts, sentences, with_article
from convai.text.compose.own_words import add_own_words, read_templates
from convai.text.compose.people import (
    KINDS,
    Free,
    Person,
    Trait,
    alike,
    clash,
    known,
    read_free,
    read_unknown,
    stems,
    topics,
    usable,
    values_of,
)
from convai.text.compose.person import to_third, to_you
from convai.text.compose.story_files import read_stories


class World:
    """The lists of attributes and the forms of facts in a folder.

    `held_out`: draw from the tenth of every list that is kept from training, and from nothing else.
    """

    def __init__(self, folder: Path, *, held_out: bool = False) -> None:
        self.forms: Parts = read_parts(folder / "facts.txt")
        self.changes: Parts = read_parts(folder / "changes.txt")
        self.checks: Parts = read_parts(folder / "checks.txt")
        self.asides: Parts = read_parts(folder / "asides.txt")
        self.unknown = read_unknown(folder / "unknown.txt")
        self.invented = read_unknown(folder / "invented.txt")
        self.stories = read_stories(folder / "stories.txt")
        self.templates = read_templates(folder / "own_words.txt")
        free = read_free(folder / "free.txt")
        self.free = [f for i, f in enumerate(free) if (i % 10 == 9) == held_out]
        self.lists: dict[str, list[str]] = {}
        for path in sorted((folder / "lists").glob("*.txt")):
            lines = path.read_text(encoding="utf-8").split("\n")
            every = [line.strip() for line in lines if line.strip()]
            kept = [value for i, value in enumerate(every) if (i % 10 == 9) == held_out]
            self.lists[path.stem] = kept or every

    def person(self, rng: random.Random, *, taken: str = "") -> Person:
        """Somebody with a name other than `taken`, and no facts beside it."""
        woman = rng.random() < 0.5
        name = rng.choice([n for n in self.lists["women" if woman else "men"] if n != taken])
        return Person(name, woman, {"name": Trait("name", {"name": name})})

    def fact(self, rng: random.Random, slot: str) -> Trait:
        """A fact for a slot of facts.txt."""
        pick = {name: rng.choice(values) for name, values in self.lists.items()}
        name = pick["women"] if rng.random() < 0.5 else pick["men"]
        place, country = (part.strip() for part in pick["places"].split("|"))
        woman = name in self.lists["women"]
        values = {
            "name": {"name": name},
            "age": {"age": str(rng.randrange(18, 80))},
            "job": {"job": pick["jobs"]},
            "city": {"city": place, "country": country},
            "origin": {"origin": place},
            "pet": {"pet": pick["pets"], "petname": pick["petnames"]},
            "sibling": {"sib": "sister" if woman else "brother", "sibname": name, "sibjob": pick["jobs"]},
            "spouse": {
                "spouse": rng.choice(("wife", "girlfriend") if woman else ("husband", "boyfriend")),
                "spousename": name,
            },
            "child": {
                "child": "daughter" if woman else "son",
                "childname": name,
                "childage": str(rng.randrange(2, 18)),
            },
            "birthday": {"month": pick["months"]},
            "past": {"past": pick["pasts"]},
            "plan": {"plan": pick["plans"], "day": pick["days"]},
            "lost": {"lost": pick["lost"]},
            "music": {"music": pick["music"]},
        }
        if slot == "plan":
            values["plan"]["dayname"] = re.sub("^on ", "", pick["days"])
        found = values.get(slot)
        return Trait(slot, found if found else {slot: pick[_list_of(slot, self.lists)]})

    def add(self, rng: random.Random, person: Person, slot: str) -> Trait | None:
        """Give the person a fact that goes with the others; None when a few draws found none."""
        for _ in range(8):
            fact = self.fact(rng, slot)
            if not any(clash(fact, other) for other in person.facts.values()):
                person.facts[slot] = fact
                return fact
        return None

    def add_own_words(self, rng: random.Random, person: Person) -> Free | None:
        """Give the person a fact of own_words.txt that goes with what is known of it."""
        return add_own_words(rng, self.templates, self.lists, person)

    def add_free(self, rng: random.Random, person: Person) -> Free | None:
        """Give the person a fact in its own words that touches none of the others."""
        taken = set().union(*(topics(free) for free in person.free), *(stems(v) for v in values_of(person)))
        held = person.facts.keys() | person.lacks | person.settled
        kinds = KINDS.keys() & held
        for _ in range(8):
            free = rng.choice(self.free)
            text = " ".join((free.clause, *(q for q, _ in free.questions)))
            if topics(free) & taken or any(re.search(KINDS[slot], text, re.I) for slot in kinds):
                continue
            if any(
                re.search(p, text, re.I) and any(re.search(p, f.clause, re.I) for f in person.free)
                for p in KINDS.values()
            ):
                continue
            person.free.append(free)
            return free
        return None

    def other(self, rng: random.Random, fact: Trait) -> Trait:
        """A fact of the slot whose values all differ, so that what it says is not so."""
        while True:
            other = self.fact(rng, fact.slot)
            values = {k: v for k, v in other.values.items() if k in fact.values}
            for kept in ("sib", "spouse", "child", "day", "dayname"):
                if kept in fact.values:
                    values[kept] = fact.values[kept]
            differ = [k for k in values if k not in ("sib", "spouse", "child", "day", "dayname")]
            same = all(
                other.values.get(k) == fact.values.get(k) for k in ("sib", "child") if k in fact.values
            )
            names = [v.get("spousename", "") in self.lists["women"] for v in (other.values, fact.values)]
            if same and names[0] == names[1] and all(not alike(values[k], fact.values[k]) for k in differ):
                return Trait(fact.slot, values)

    def lines(self, fact: Trait, part: str) -> list[str]:
        """The forms of a part that the fact has the values for.

        A line "question => answers" keeps the answers it has the values for; without any it is left out.
        """
        kept = []
        for line in self.forms[fact.slot].get(part, []):
            said, arrow, answers = line.partition(" => ")
            able = [a for a in answers.split(" / ") if usable(a, fact.values)]
            if usable(said, fact.values) and (able or not arrow):
                kept.append(f"{said} => {' / '.join(able)}" if arrow else said)
        return kept

    def clauses(self, fact: Trait) -> list[str]:
        """What somebody with the fact says of it, in the first person, without a stop."""
        return [fill(form, fact.values) for form in self.lines(fact, "say")]

    def persona(self, rng: random.Random, person: Person, *, named: bool, style: str) -> list[str]:
        """The person's sentences, in the order drawn. Of each fact, only what its sentence says remains.

        `style`: "first", "third" or "second" person; "card", "you card": a paragraph, third or second person.
        With "third" and "second" the name opens the text, as a character card does.
        """
        facts = [fact for fact in person.facts.values() if fact.slot != "name"]
        rng.shuffle(facts)
        said = [rng.choice(self.clauses(fact)) for fact in facts]
        for fact, clause in zip(facts, said, strict=True):
            person.facts[fact.slot] = known(fact, clause)
        for free in person.free:
            said.insert(rng.randrange(len(said) + 1), free.clause)
        if style == "first":
            if named:
                name = rng.choice(self.clauses(person.facts["name"]))
                said.insert(0 if rng.random() < 0.7 else rng.randrange(len(said) + 1), name)
            return [sentences(clause + ".") for clause in _joined(rng, said)]
        if "card" in style:
            return [self._card(person, facts, said, you=style == "you card")]
        if style == "second":
            said = [f"You are {person.name}"] + [to_you(clause) for clause in said]
            return [sentences(clause + ".") for clause in said]
        third = [to_third(clause, person.woman) for clause in said]
        third = [clause.replace("she 's", "she is") for clause in third]
        pronoun = "she" if person.woman else "he"
        if third and third[0].startswith(pronoun + " "):
            third[0] = person.name + third[0].removeprefix(pronoun)
        else:
            third.insert(0, f"{'Her' if person.woman else 'His'} name is {person.name}")
        return [sentences(clause + ".") for clause in third]

    def _card(self, person: Person, facts: list[Trait], said: list[str], *, you: bool) -> str:
        """The sentences as a paragraph that begins with the name and, if there is one, the job."""
        head = f"{'You are' if you else person.name + ' is'} "
        clauses = list(said)
        job = next((f.values["job"] for f in facts if f.slot == "job"), "")
        if job:
            own = next(self.clauses(fact) for fact in facts if fact.slot == "job")
            clauses = [clause for clause in clauses if clause not in own]
            short = with_article(job)
            rest = next((c for c in clauses if re.match(r"I [a-z]+ ", c) and len(c.split()) < 8), "")
            head += f"{person.name}, {short}" if you else short
            if rest:
                clauses.remove(rest)
                head += " who " + to_third(rest, person.woman).split(" ", 1)[1]
        else:
            head += (
                person.name if you else f"called {person.name}" if not clauses else "someone you can talk to"
            )
        told = [to_you(c) if you else to_third(c, person.woman) for c in clauses]
        told = [re.sub(r"^(s?he) 's", r"\1 is", clause) for clause in told]
        return " ".join(sentences(clause + ".") for clause in [head, *told])


def _list_of(slot: str, lists: dict[str, list[str]]) -> str:
    """The list that a slot draws from: its name, or its plural."""
    plurals = (slot, slot + "s", slot[:-1] + "ies", slot[:-1] + "s")
    return next(name for name in plurals if name in lists)


def _joined(rng: random.Random, clauses: list[str]) -> list[str]:
    """The clauses, now and then two of them as one sentence."""
    joined: list[str] = []
    alone = True
    for clause in clauses:
        short = joined and len(f"{joined[-1]} {clause}".split()) < 22
        if alone and short and rng.random() < 0.25:
            small = clause if re.match(r"I\b", clause) else clause[:1].lower() + clause[1:]
            joined[-1] += rng.choice((" and ", " and ", ", ", "; ", ", and ", " but ")) + small
            alone = False
        else:
            joined.append(clause)
            alone = True
    return joined
