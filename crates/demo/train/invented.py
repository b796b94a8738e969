"""Families of tools that nobody declares: everyday ways to ask, around nouns, verbs and adjectives drawn anew.

The families of `families.py` are few, and a model that meets only these learns their words. Here the
frame of a request is natural ("has … been …", "how … is it from … to …") and what it is about is not,
so that the words around a value say what it is for, and only a tool's name says which tool is meant.
"""

import words as w
from families import Family, P, clock, code, date, enum, of, one_of

# What the families that are kept for the held-out set are about.
HELD_WORDS = {"order", "note", "alarm", "distance", "far"}
DONE = w.Words("sent packed paid closed checked moved signed opened cleaned fixed found seen sold counted answered delayed lost")
PERIODS = w.Words("day week evening month Monday morning hour night Friday")

number = lambda rng, held: rng.randint(1, 9999)
small = lambda rng, held: rng.randint(1, 60)
PLACE = (w.city, w.city, w.person, w.made_up, of(w.ROOMS), of(w.NOUNS))
TEXT = (of(w.MESSAGES), of(w.MESSAGES), of(w.TITLES), of(w.TODOS), of(w.QUERIES))


class Invented(Family):
    """`marks`: the words by which its requests are told from others."""

    def __init__(self, marks, near, *parts):
        super().__init__(*parts)
        self.marks, self.near = marks, near


def invented(rng):
    """One family of a random kind."""
    while True:
        verb, adjective = w.VERBS.pick(rng), w.ADJECTIVES.pick(rng)
        noun = w.made_up(rng) if rng.random() < 0.1 else w.NOUNS.pick(rng)
        if not {noun, verb, adjective} & HELD_WORDS:
            break
    kind = rng.choice((status, status, between, between, about, saved, saved, timed, timed, switched, amount, told))
    words = {"n": noun, "N": noun.title(), "v": verb, "V": verb.title(), "a": adjective, "A": adjective.title(),
             "an": f"{w.article(noun)} {noun}", "done": DONE.pick(rng), "period": PERIODS.pick(rng)}
    marks, names, descriptions, params, asks, results = kind(rng, words)

    # Slots, and the braces of optional parts, are left for the tool.
    def fill(text):
        for key, value in words.items():
            text = text.replace(f"<{key}>", value)
        return text

    for p in params.values():
        p.names = [fill(n) for n in p.names]
        p.description = [fill(d) for d in p.description]
    results = [(result, fill(answer)) for result, answer in results]
    return Invented({words[m] for m in marks}, NEAR.get(kind, ()), fill(names), [fill(d) for d in descriptions], params, [fill(a) for a in asks], results)


def status(rng, words):
    make = rng.choice((code, code, number, w.made_up, w.person))
    return ("n", "get_<n>_status track_<n> <n>Status <n>_status check_<n> find_<n> <n>_info get<N> show_<n>",
            ["Get the status of <an>.", "Track <an>.", "Where is <an>?", "Tells how <an> is doing.", "Look up <an>."],
            {"id": P("<n>_id <n> id number code name key", "integer" if make is number else "string", make, ["Number of the <n>.", "Which <n>.", "", ""])},
            ["Where is my <n> {id}?", "Where is <n> {id} now?", "What is the status of <n> {id}?", "Track <n> {id}.", "Has <n> {id} been <done>?",
             "Was <n> {id} <done> today?", "Is <n> {id} <a> yet?", "How is <n> {id} doing?", "Tell me about <n> {id}.", "<N> {id}, please.",
             "Is my <n> {id} still <a>?", "When will <n> {id} be <done>?", "I am waiting for <n> {id}. Where is it?", "Look up <n> {id} for me."],
            [({"status": of(w.STATES)}, "<N> {id} is {status}."), ({"state": of(w.STATES)}, "<N> {id} is {state}.")])


def between(rng, words):
    make = rng.choice(PLACE)
    if rng.random() < 0.5:
        asks = ["How <a> is it from {source} to {target}?", "How <a> is the way from {source} to {target}?", "From {source} to {target}, how <a> is it?",
                "Is it <a> between {source} and {target}?", "I go from {source} to {target}. How <a> is that?"]
        marks, names, what = "a", "how_<a> get_<a> <a> is_<a> check_<a> how<A>", ["How <a> is it?", "Tells how <a> a way is.", "How <a> it is between two places."]
    else:
        asks = ["What is the <n> from {source} to {target}?", "<N> from {source} to {target}?", "<N> between {source} and {target}, please.",
                "I go from {source} to {target}. What is the <n>?", "Find the <n> from {source} to {target}.", "Show me <n> from {source} to {target}."]
        marks, names, what = "n", "get_<n> <n> find_<n> get<N> <n>_between <n>_search", ["Get the <n>.", "<N> between two places.", "The <n> from one place to another."]
    return (marks, names, what,
            {"source": P("from start origin source first", "string", make, ["Start.", "Where from.", ""]),
             "target": P("to end destination target second", "string", make, ["End.", "Where to.", ""])},
            asks, [({"value": small}, "It is {value} from {source} to {target}.")])


def about(rng, words):
    make = rng.choice((*PLACE, date, code))
    param = P("name <n>_of place item what target of subject", "string", make, ["Of what.", "Which one.", ""])
    return ("n", "get_<n> find_<n> <n>_of get<N> show_<n> <n> lookup_<n>", ["Get the <n> of something.", "Looks up <an>.", "Returns the <n>."],
            {"x": param, "level": enum("level kind detail", "low medium high", ["How much of it.", ""], True)},
            ["What is the <n> of {x}[level: at level {level}]?", "What's the <n> for {x}[level:, {level}]?", "<N> of {x}[level:, {level}]?",
             "Give me the <n> of {x}[level: in {level}].", "Does {x} have <an>?[level: Use {level}.]", "I need the <n> for {x} today.",
             "How is the <n> in {x}?", "Which <n> does {x} have now?", "Is there <an> for {x}?"],
            [({"value": small}, "The <n> of {x} is {value}.")])


def saved(rng, words):
    make = rng.choice(TEXT)
    return ("n", "create_<n> add_<n> new_<n> write_<n> <n> save<N> <n>_add make_<n>",
            ["Create <an>.", "Adds <an>.", "Save <an>.", "Write <an>.", "Makes a new <n>."],
            {"text": P("text content <n> body message data words", "string", make, ["Text of the <n>.", "What to write.", ""]),
             "title": P("title name label subject", "string", of(w.TITLES), ["Title.", "Name of the <n>.", ""], True)},
            ['<N>: {text}.[title: Call it "{title}".]', 'Make <an>[title: named "{title}"]: {text}.', 'Create <an> that reads "{text}"[title: with the name "{title}"].',
             'I want <an> saying {text}.', 'New <n>: {text}', 'Please add <an>: {text}.[title: The title is "{title}".]', 'Put "{text}" in <an>[title: called "{title}"].',
             'Keep this as <an>: {text}.', 'Add "{text}" as <an>[title: to "{title}"].', '<An>, please: {text}.'.replace("<An>", words["an"].capitalize())],
            [({"id": small}, "The <n> has number {id}."), ("saved", "The <n> is saved.")])


def timed(rng, words):
    make = rng.choice((clock, clock, date))
    return ("nv", "set_<n> create_<n> <n>_set add_<n> set<N> <v>_<n> start_<n>", ["Set <an>.", "Creates <an>.", "<V> <an> at a time.", "Plan <an>."],
            {"time": P("time at clock when start" if make is clock else "date day when on", "string", make, ["When.", "Time of the <n>.", ""]),
             "repeat": P("repeat every_" + words["period"].lower() + " again", "boolean", one_of(True),
                         ["Repeat it.", "Again every <period>.", ""], True)},
            ["Set <an> for {time}[repeat: every <period>].", "<N> at {time}[repeat:, every <period>], please.", "I need <an> at {time}[repeat: every <period>].",
             "<V> the <n> at {time}[repeat: every <period>].", "Plan <an> for {time}[repeat:, and again every <period>].", "Let the <n> start at {time}[repeat: every <period>].",
             "Start <an> at {time}, please.", "At {time} I want <an>[repeat: every <period>]."],
            [({"id": code}, "The <n> is set for {time}."), ("ok", "The <n> is set for {time}.")])


def switched(rng, words):
    options = rng.choice(("on off", "open close", "up down", "left right", "fast slow", " ".join(dict.fromkeys(w.STATES.pick(rng) for _ in range(3)))))
    make = rng.choice((of(w.ROOMS), w.person, w.made_up, of(w.NOUNS), w.city))
    return ("n", "set_<n> <n>_control control_<n> switch<N> <n> <v>_<n>", ["Set the <n>.", "Control <an>.", "Switches <an>."],
            {"place": P("room place name where of", "string", make, ["Which <n>.", "Where it is.", ""]), "mode": enum("mode state action value", options, ["What to do.", ""])},
            ["Set the <n> of {place} to {mode}.", "<N> {mode} in {place}, please.", "Turn the <n> in {place} {mode}.", "I want the <n> of {place} {mode}.",
             "Can you put the {place} <n> on {mode}?", "Make the {place} <n> {mode} now."],
            [({"done": one_of(True)}, "The <n> of {place} is {mode}."), ("done", "The <n> of {place} is {mode}.")])


def amount(rng, words):
    make = rng.choice((small, small, number, lambda rng, held: rng.randint(10, 999) / 10))
    return ("n", "set_<n> <n>_level change_<n> set<N> <v>_<n> use_<n>", ["Set the <n>.", "Change the <n>.", "<V> the <n>."],
            {"value": P("value amount level number <n>", "number", make, ["How much.", "A number.", ""]),
             "place": P("room place name for", "string", rng.choice(PLACE), ["Where.", "For whom.", ""], True)},
            ["Set the <n>[place: of {place}] to {value}.", "I want {value} as <n>[place: for {place}].", "<N> {value}[place: for {place}], please.",
             "Change the <n> to {value}[place: in {place}].", "<V> the <n> by {value}[place: for {place}].", "Let <n> be {value}[place: in {place}]."],
            [({"done": one_of(True)}, "The <n> is {value}."), ("ok", "The <n> is {value}.")])


def told(rng, words):
    return ("v", "<v> <v>_someone <v>_person <v>_contact do_<v> <v>To", ["<V> a person.", "<V> someone.", "<V>."],
            {"person": P("person contact to name who", "string", w.person, ["Who.", "Name of the person.", ""]),
             "text": P("text message body what", "string", rng.choice(TEXT), ["What.", "The message.", ""])},
            ["<V> {person}: {text}.", '<V> "{text}" to {person}.', "<V> {person} that {text}.", '<V> to {person} that "{text}", please.', "I must <v> {person}: {text}.",
             "Can you <v> {person} about {text}?"],
            [({"delivered": one_of(True)}, "{person} knows."), ("done", "{person} knows.")])


NEAR = {
    told: ("send_message", "send_email"),
    timed: ("create_event", "add_reminder", "set_timer"),
    saved: ("create_event", "add_reminder", "add_todo", "create_ticket", "write_file", "send_email", "send_message"),
    between: ("search_flights",),
}
