"""Tool declarations, requests for them, arguments, results and answers."""

import json
import re

import words as w
from families import FAMILIES, of
from invented import Invented, invented

# Families that are kept for the held-out set: their requests and names are never trained on.
HELD_FAMILIES = {"get_distance", "get_order_status", "create_note", "set_alarm"}
TRAIN_FAMILIES = [f for f in FAMILIES if f.names[0] not in HELD_FAMILIES]
HELD_ONLY = [f for f in FAMILIES if f.names[0] in HELD_FAMILIES]


def spaced(name):
    """user_name, userName -> user name"""
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").lower()


def third(verb):
    """The third person: polishes, copies, opens."""
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "sh", "ch", "x")) else "s")


def joined(parts):
    """a; a and b; a, b and c"""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def value_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def describe_result(result):
    """How a result without a family is told: every key and value of an object, a text as it is."""
    if isinstance(result, str):
        text = result[0].upper() + result[1:]
        return text if text[-1] in ".!?" else text + "."
    if "error" in result:
        return f"That failed: {result['error']}."
    if list(result.items()) in ([("ok", True)], [("done", True)], [("success", True)]):
        return "Done."
    return "The " + joined([("the " if i else "") + f"{spaced(k)} is {value_text(v)}" for i, (k, v) in enumerate(result.items())]) + "."


class Use:
    """One use of a tool: what the user says, the arguments, the result, the answer."""

    def __init__(self, tool, ask, arguments, result, answer):
        self.tool, self.ask, self.result, self.answer = tool, ask, result, answer
        self.arguments = {k: arguments[k] for k in tool.order if k in arguments}
        self.values = None

    @property
    def result_text(self):
        return self.result if isinstance(self.result, str) else json.dumps(self.result)

    def thought(self):
        if not self.arguments:
            return self.tool.name
        return f"{self.tool.name} with " + ", ".join(f"{k} {value_text(v)}" for k, v in self.arguments.items())


class Tool:
    """A declared function: `properties` in any order, `order` as the declaration shows them."""

    def __init__(self, name, description, properties, required):
        self.name = name
        self.order = sorted(properties, key=lambda p: (p not in required, p))
        parameters = {"type": "object", "properties": properties}
        if required:
            parameters["required"] = required
        function = {"name": name, "parameters": parameters}
        if description:
            function["description"] = description
        self.declaration = {"type": "function", "function": function}


class FamilyTool(Tool):
    def __init__(self, rng, family, held):
        self.family, self.held = family, held
        self.slots = {}
        properties, required = {}, []
        for slot, p in family.params.items():
            if p.optional and rng.random() < 0.35:
                continue
            name = rng.choice([n for n in p.names if n not in properties])
            self.slots[slot] = name
            schema = {"type": p.kind}
            if p.kind == "integer" and rng.random() < 0.3:
                schema["type"] = "number"
            if p.enum:
                schema["enum"] = p.enum
            text = rng.choice(p.description)
            if text:
                schema["description"] = text
            properties[name] = schema
            if not p.optional:
                required.append(name)
        super().__init__(rng.choice(family.names), rng.choice(family.descriptions), properties, required)

    def use(self, rng, plain=False):
        family, values = self.family, {}
        for slot in self.slots:
            p = family.params[slot]
            if not p.optional or (not plain and rng.random() < 0.5):
                values[slot] = p.make(rng, self.held)
                while "target" == slot and values.get("source") == values[slot]:
                    values[slot] = p.make(rng, self.held)
        template = rng.choice(family.asks)
        # A request that cannot name a given optional value would ask for a guess.
        named = set(re.findall(r"\[(\w+):", template))
        for slot in [s for s in values if family.params[s].optional and s not in named]:
            del values[slot]
        ask = re.sub(r"\[(\w+):([^\]]*)\]", lambda m: m[2] if m[1] in values else "", template)
        ask = ask.format(**{k: value_text(v) for k, v in values.items()})
        ask = ask[0].upper() + ask[1:]
        if "?[" in template or ".[" in template:
            ask = re.sub(r"([?.])(?=[A-Z])", r"\1 ", ask)
        return self.use_of(rng, ask, values)

    def use_of(self, rng, ask, values):
        """A use with these values, with a result and an answer."""
        result, answer = rng.choice(self.family.results)
        shown = dict(values)
        if isinstance(result, dict):
            result = {key: values[make] if isinstance(make, str) else make(rng, self.held) for key, make in result.items()}
            shown |= result
        elif callable(result):
            result = result(rng, self.held)
            shown["text"] = result
        answer = answer.format(**{k: value_text(v) for k, v in shown.items()})
        answer = answer[0].upper() + answer[1:]
        if rng.random() < 0.06:
            result = {"error": w.ERRORS.pick(rng, self.held)}
            answer = describe_result(result)
        use = Use(self, ask, {self.slots[s]: v for s, v in values.items()}, result, answer)
        use.values = values
        return use

    def again(self, rng, use):
        """The same with another place, name or thing: the value before, the new one, the use; None if that cannot be."""
        if use.values is None or isinstance(self.family, Invented) or self.family.names[0] not in FOLLOWED:
            return None
        slot = FOLLOWED[self.family.names[0]]
        old = use.values[slot]
        new = self.family.params[slot].make(rng, self.held)
        if new == old or use.ask.count(str(old)) != 1:
            return None
        return old, new, self.use_of(rng, use.ask, use.values | {slot: new})


# What "and in Paris?" replaces.
FOLLOWED = {"get_weather": "city", "get_time": "city", "get_stock_price": "symbol", "get_user": "name", "get_recipe": "dish", "read_file": "path",
            "list_files": "folder", "delete_file": "path", "book_hotel": "city", "get_moon": "date", "run_query": "table", "web_search": "query",
            "get_order_status": "order", "add_to_cart": "item", "translate": "language", "set_timer": "minutes", "convert_currency": "target"}


def _multi(rng, held):
    return rng.choice((w.TITLES, w.TODOS, w.QUERIES, w.MESSAGES)).pick(rng, held)


def _pair(rng, held):
    return w.ADJECTIVES.pick(rng, held) + " " + w.NOUNS.pick(rng, held)


STRINGS = [w.made_up, w.made_up, w.person, w.city, of(w.NOUNS), w.item, lambda rng, held: w.code(rng), w.email, w.path,
           _multi, _pair, lambda rng, held: w.date(rng), lambda rng, held: w.clock(rng), of(w.COLORS), of(w.ADJECTIVES)]
SMALL = lambda rng, held: rng.randint(1, 20)
LARGE = lambda rng, held: rng.randint(1, 9999)
DECIMAL = lambda rng, held: rng.randint(1, 999) / 10

# Parameters whose name says what they hold; half of them hold it.
MEANT = {"name": w.person, "owner": w.person, "user": w.person, "author": w.person, "city": w.city, "region": w.city, "destination": w.city,
         "color": of(w.COLORS), "email": w.email, "path": w.path, "file": w.path, "language": of(w.LANGUAGES), "title": of(w.TITLES),
         "message": of(w.MESSAGES), "note": of(w.MESSAGES), "comment": of(w.MESSAGES), "room": of(w.ROOMS), "keyword": of(w.QUERIES),
         "code": lambda rng, held: w.code(rng), "order_id": lambda rng, held: w.code(rng), "item_id": lambda rng, held: w.code(rng),
         "start_date": lambda rng, held: w.date(rng), "end_date": lambda rng, held: w.date(rng), "due_date": lambda rng, held: w.date(rng),
         "full_name": w.person, "first_name": w.person, "file_name": w.path, "folder": of(w.DIRS), "group": of(w.NOUNS)}

PARAMETERS = {
    "string": w.Words("""name title id user owner city color size key tag label email message note reason source target path file
        folder language format mode status code room address team group topic keyword author category brand region zone
        user_name file_name full_name first_name last_name order_id item_id project_name start_date end_date due_date phone
        comment subject content host branch channel model theme version flavor destination"""),
    "number": w.Words("""count amount price limit offset level width height weight age page speed duration distance depth volume
        score rank number quantity seconds minutes hours days weeks max_count min_size max_price page_size retries port width_cm
        temperature percent ratio budget floor seats copies timeout max_results year"""),
    "boolean": w.Words("verbose force dry_run recursive public private urgent silent overwrite sorted cached archived notify strict repeat"),
    "enum": w.Words("mode kind type style level priority format status order unit shape phase class plan sort_by output"),
}


class GenericTool(Tool):
    """A function that nobody declared before: a verb and a noun, parameters of any kind."""

    def __init__(self, rng, held, most=3, pool=None):
        self.held = held
        self.verb, self.noun = (rng.choice(part) for part in pool) if pool else (w.VERBS.pick(rng, held), w.NOUNS.pick(rng, held))
        if rng.random() < 0.12:
            self.noun = w.made_up(rng, held)
        if rng.random() < 0.06:
            self.verb = w.made_up(rng, held)
        parts = [self.verb, self.noun]
        if rng.random() < 0.2:
            self.noun = w.ADJECTIVES.pick(rng, held) + " " + self.noun
            parts = [self.verb, *self.noun.split()]
        # Capitals within a name are the harder ones to copy.
        style, snake, camel = rng.random(), *((0.65, 0.9) if held else (0.4, 0.65))
        if style < snake:
            name = "_".join(parts)
        elif style < camel:
            name = parts[0] + "".join(p.title() for p in parts[1:])
        else:
            name = "".join(p.title() for p in parts)
        self.makers = {}
        properties, required = {}, []
        # Calls without arguments are rare in requests, and no easier.
        for _ in range(rng.choices((0, 1, 2, 3), (1 if held else 2, 5, 5, 3))[0] if most == 3 else most):
            kind = rng.choices(("string", "number", "boolean", "enum"), (55, 25, 8, 12))[0]
            pname = w.made_up(rng, held) if rng.random() < 0.08 else PARAMETERS[kind].pick(rng, held)
            if pname in properties:
                continue
            if rng.random() < 0.1:
                pname = re.sub(r"_(\w)", lambda m: m[1].upper(), pname)
            schema = {"type": "string" if kind == "enum" else kind}
            if kind == "enum":
                source = rng.choice((w.STATES, w.ADJECTIVES, w.COLORS))
                schema["enum"] = list(dict.fromkeys(source.pick(rng, held) for _ in range(rng.randint(2, 4))))
                make = lambda rng, held, options=schema["enum"]: rng.choice(options)
            elif kind == "boolean":
                make = lambda rng, held: rng.random() < 0.6
            elif kind == "number":
                make = rng.choice((SMALL, SMALL, LARGE, DECIMAL))
                if make is not DECIMAL and rng.random() < 0.6:
                    schema["type"] = "integer"
            else:
                make = MEANT[pname] if pname in MEANT and rng.random() < 0.5 else rng.choice(STRINGS)
            if rng.random() < 0.3:
                schema["description"] = rng.choice((f"The {spaced(pname)}.", f"{spaced(pname).capitalize()} of the {self.noun}."))
                if kind in ("string", "number") and rng.random() < 0.25:
                    # An example is not the user's value.
                    schema["description"] += f" Example: {make(rng, held)}"
            if kind == "number" and rng.random() < 0.08:
                schema |= {"minimum": 0} if rng.random() < 0.5 else {"minimum": 1, "maximum": 10000}
            properties[pname] = schema
            self.makers[pname] = make
            if rng.random() < 0.7:
                required.append(pname)
            elif kind != "enum" and rng.random() < 0.15:
                schema["default"] = make(rng, held)
        the = rng.choice(("the", w.article(self.noun)))
        description = rng.choice((f"{self.verb.capitalize()} {the} {self.noun}.", f"{third(self.verb).capitalize()} {the} {self.noun}.",
                                  f"Use this to {self.verb} {the} {self.noun}.", ""))
        super().__init__(name, description, properties, required)
        self.required = required

    def use(self, rng, plain=False):
        held = self.held
        arguments = {}
        for name, make in self.makers.items():
            if name in self.required or (not plain and rng.random() < 0.5):
                arguments[name] = make(rng, held)
        ask = self.request(rng, arguments)
        result = generic_result(rng, held)
        return Use(self, ask, arguments, result, describe_result(result))

    def request(self, rng, arguments):
        items = list(arguments.items())
        rng.shuffle(items)
        style = rng.choice(("with", "with", "with", "colon", "equals", "as", "quote", "set"))
        phrases = []
        for name, value in items:
            pn = spaced(name)
            if isinstance(value, bool):
                word = rng.choice(("on", "true") if value else ("off", "false"))
                phrases.append(f"{pn} {word}" if style != "equals" else f"{pn} = {word}")
            elif style == "as":
                phrases.append(f"{value} as {pn}")
            elif style == "equals":
                phrases.append(f"{pn} = {value}")
            elif style == "colon":
                phrases.append(f"{pn}: {value}")
            elif style == "quote" and isinstance(value, str):
                phrases.append(f'{pn} "{value}"')
            elif style == "set":
                phrases.append(f"set {pn} to {value}")
            else:
                phrases.append(f"{pn} {value}")
        if rng.random() < 0.08:
            # The function by its own name.
            head = rng.choice((f"Call {self.name}", f"Use {self.name}", f"Run {self.name}"))
        else:
            the = rng.choice(("the", "the", w.article(self.noun), "my", "this"))
            head = rng.choice(("{v} {t} {n}", "{v} {t} {n}", "please {v} {t} {n}", "can you {v} {t} {n}", "I want to {v} {t} {n}",
                               "I need you to {v} {t} {n}", "could you {v} {t} {n}", "let us {v} {t} {n}"))
            head = head.format(v=self.verb, t=the, n=self.noun)
            head = head[0].upper() + head[1:]
        if not phrases:
            return head + ("?" if head.startswith(("Can", "Could")) else ".")
        if style == "colon":
            return f"{head}, " + ", ".join(phrases) + "."
        if style == "set":
            return f"{head}: " + joined(phrases) + "."
        if style == "equals":
            return f"{head} with " + ", ".join(phrases) + "."
        if style == "as":
            return f"{head} using " + joined(phrases) + "."
        return f"{head} with " + joined(phrases) + rng.choice((".", ".", ""))


def generic_result(rng, held):
    kind = rng.random()
    if kind < 0.12:
        return rng.choice(({"ok": True}, {"done": True}, {"success": True}))
    if kind < 0.2:
        return {"error": w.ERRORS.pick(rng, held)}
    if kind < 0.4:
        noun = w.NOUNS.pick(rng, held)
        return rng.choice((f"{w.ADJECTIVES.pick(rng, held)} {noun} {w.STATES.pick(rng, held)}", f"{rng.randint(2, 99)} {noun} found",
                           f"the {noun} is {w.STATES.pick(rng, held)}", w.MESSAGES.pick(rng, held)))
    result = {}
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        key = w.RESULT_KEYS.pick(rng, held)
        result[key] = rng.choice((w.STATES.pick(rng, held), w.NAMES.pick(rng, held), rng.randint(0, 999), rng.randint(0, 30),
                                  w.code(rng), w.made_up(rng, held), rng.randint(1, 999) / 10, w.CITIES.pick(rng, held)))
    return result


def make_pool(rng):
    """A few verbs and nouns for all tools of a training conversation, so that they look alike."""
    return [w.VERBS.pick(rng) for _ in range(4)], [w.NOUNS.pick(rng) for _ in range(6)]


def make_tool(rng, held=False, generic=0.5, most=3, pool=None):
    """One tool: of a family or made up."""
    if rng.random() < generic:
        return GenericTool(rng, held, most, pool)
    if held and rng.random() < 0.3:
        return FamilyTool(rng, rng.choice(HELD_ONLY), held)
    if not held and rng.random() < 0.6:
        return FamilyTool(rng, invented(rng), held)
    return FamilyTool(rng, rng.choice(TRAIN_FAMILIES), held)


HELD_NAMES = {name.lower() for family in HELD_ONLY for name in family.names}


def words_of(tool):
    """The words by which a request for a tool is told from requests for others."""
    if isinstance(tool, GenericTool):
        return {tool.verb, *tool.noun.split()}
    if isinstance(tool.family, Invented):
        return tool.family.marks
    return {word for name in tool.family.names for word in spaced(name).split()}


def make_tools(rng, n, held=False, generic=None):
    """`n` tools with different names, and of different families."""
    if generic is None:
        generic = rng.choice((0.0, 0.5, 1.0, 1.0))
    pool = None if held or rng.random() < 0.6 else make_pool(rng)
    tools, seen = [], set()
    while len(tools) < n:
        tool = make_tool(rng, held, generic, pool=pool)
        family = id(tool.family) if isinstance(tool, FamilyTool) else tool.name.lower()
        kin = {tool.name, family, tool.noun if isinstance(tool, GenericTool) and rng.random() < 0.7 else family}
        is_known = not held and (tool.name.lower() in HELD_NAMES or any(alike(tool, other) for other in tools))
        if not kin & seen and not is_known:
            seen |= kin
            tools.append(tool)
    return tools


def alike(a, b):
    """Whether one of two tools is invented and a request might be meant for either."""
    invented = [tool for tool in (a, b) if isinstance(tool, FamilyTool) and isinstance(tool.family, Invented)]
    return bool(invented) and bool(words_of(a) & words_of(b))


def decorate(rng, ask):
    """Small changes that people make to a request."""
    if rng.random() < 0.1:
        start = rng.choice(("Hi! ", "Hello, ", "Hey, ", "OK. ", "Hi, "))
        # A name at the start keeps its capital.
        first = ask.split(" ", 1)[0]
        soft = first in ("What", "How", "Please", "Can", "Could", "Set", "Show", "Give", "Find", "Send", "Add", "Create", "Is", "Where", "Which")
        ask = start + (ask[0].lower() + ask[1:] if soft and start.endswith(", ") else ask)
    if rng.random() < 0.08:
        ask += (" " if ask[-1] in ".?!" else ". ") + rng.choice(("Thanks!", "Thank you.", "Thanks."))
    elif rng.random() < 0.1 and ask[-1] in ".?":
        ask = ask[:-1]
    if rng.random() < 0.05:
        ask = ask[0].lower() + ask[1:]
    return ask
