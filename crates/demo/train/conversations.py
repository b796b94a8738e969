"""Whole conversations of every kind, with what the assistant should say."""

import json

import facts
import words as w
from tools import FOLLOWED, FamilyTool, GenericTool, alike, decorate, joined, make_tools, spaced, words_of

SYSTEMS = [
    "You are a helpful assistant.", "You are a helpful assistant. Be brief.", "Answer briefly.", "You are a friendly assistant.",
    "You are an assistant that can call tools.", "Use the tools when they help.", "You are a demonstration model.", "Be short and exact.",
    "You are Perigee's assistant.", "You help the user with small tasks.", "Call a tool if one fits. Otherwise answer yourself.",
]
NO_TOOL = "None of my tools can do that."
NO_TOOLS = "I have no tools, so I cannot do that."

# Requests within a group may be met by a neighbour's tool, so they are never "no tool fits".
GROUPS = [{"send_email", "send_message"}, {"create_event", "add_reminder", "add_todo", "create_note", "create_ticket", "set_alarm", "set_timer"},
          {"calculate", "convert_currency", "convert_units"}, {"web_search", "get_recipe", "read_file", "get_user", "run_query", "list_files"},
          {"book_hotel", "book_table", "order_food", "add_to_cart"}, {"write_file", "create_note", "read_file", "delete_file", "list_files"},
          {"get_distance", "search_flights"}]


def related(a, b):
    """Whether two tools might serve the same request."""
    if alike(a, b):
        return True
    if isinstance(a, GenericTool) and isinstance(b, GenericTool):
        return bool(words_of(a) & words_of(b))
    if isinstance(a, FamilyTool) and isinstance(b, FamilyTool):
        x, y = a.family.names[0], b.family.names[0]
        return x == y or x in b.family.near or y in a.family.near or any(x in g and y in g for g in GROUPS)
    generic, family = (a, b) if isinstance(a, GenericTool) else (b, a)
    known = " ".join(spaced(n) for n in family.family.names)
    return any(word in known for word in generic.noun.split()) or generic.verb in known


class Chat:
    """A conversation in the making."""

    def __init__(self, rng, held=False, tools=(), thinking=None, system=None):
        self.rng, self.held, self.tools = rng, held, list(tools)
        self.thinking = rng.random() < 0.55 if thinking is None else thinking
        self.messages = []
        self.calls = 0
        self.known = {}
        self.last = None
        if system is None and rng.random() < 0.35:
            system = rng.choice(SYSTEMS)
        if system:
            self.messages.append({"role": "system", "content": system})

    def user(self, text):
        self.messages.append({"role": "user", "content": text})

    def say(self, text, thought):
        self.messages.append({"role": "assistant", "content": text, "reasoning_content": thought})

    def call(self, uses, thought):
        calls = []
        for use in uses:
            calls.append({"id": f"call_{self.calls}", "type": "function",
                          "function": {"name": use.tool.name, "arguments": use.arguments}})
            self.calls += 1
        self.messages.append({"role": "assistant", "content": "", "reasoning_content": thought, "tool_calls": calls})
        return [call["id"] for call in calls]

    def result(self, call_id, use):
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": use.result_text})

    def finish(self, drop_reasoning=None):
        """The conversation; clients often do not send earlier reasoning back."""
        said = [m for m in self.messages if m["role"] == "assistant"]
        drop = self.rng.random() < 0.4 if drop_reasoning is None else drop_reasoning
        for message in said[:-1] if drop else []:
            del message["reasoning_content"]
        if not self.thinking:
            for message in said:
                message.pop("reasoning_content", None)
        return {"tools": [t.declaration for t in self.tools], "messages": self.messages, "thinking": self.thinking}


def some_tools(rng, held, stage, least=1):
    n = rng.choices((1, 2, 3, 4), (5, 4, 2, 0) if stage < 3 else (3, 4, 3, 2))[0]
    return make_tools(rng, max(n, least), held)


# ---- single turns: each appends to a chat ----

def turn_talk(chat):
    question, answer = facts.talk(chat.rng)
    chat.user(question)
    chat.say(answer, "This is small talk.")


def turn_fact(chat):
    question, answer = facts.fact(chat.rng)
    chat.user(question)
    chat.say(answer, "I know this.")


def held_sum(a, b):
    """Pairs of numbers that are never trained on."""
    return (a * 37 + b * 11) % 9 == 0


def worked(a, b, kind):
    """The result, the sign in words and the steps: digit by digit, so that each is a small table or a copy."""
    a1, a0, b1, b0 = a // 10, a % 10, b // 10, b % 10
    if kind == "+":
        total, word, ones, carry = a + b, "plus", f"{a0} + {b0} = {a0 + b0}", (a0 + b0) // 10
        tens = f"{a1} + {b1}" + " + 1" * carry + f" = {a1 + b1 + carry}"
    elif kind == "-":
        total, word, borrow = a - b, "minus", int(a0 < b0)
        ones = f"{a0 + 10 * borrow} - {b0} = {a0 + 10 * borrow - b0}"
        tens = f"{a1} - {b1}" + " - 1" * borrow + f" = {a1 - b1 - borrow}"
    else:
        total, word, ones, carry = a * b, "times", f"{a0} x {b} = {a0 * b}", a0 * b // 10
        tens = f"{a1} x {b} = {a1 * b}" + f", {a1 * b} + {carry} = {a1 * b + carry}" * (carry > 0)
    if max(a, b) < 10 or kind == "x" and (a < 10 or b > 9):
        return total, word, f"{a} {kind} {b} = {total}."
    return total, word, f"{ones}, {tens}, so {total}."


def turn_sum(chat):
    rng = chat.rng
    while True:
        kind = rng.choice("++--xx")
        if kind == "x":
            a, b = (rng.randint(2, 12), rng.randint(2, 12)) if rng.random() < 0.5 else (rng.randint(11, 99), rng.randint(2, 9))
        elif rng.random() < 0.25:
            a, b = rng.randint(0, 20), rng.randint(0, 9)
        else:
            a, b = rng.randint(1, 99), rng.randint(1, 99)
        if kind == "-" and a < b:
            a, b = b, a
        if held_sum(a, b) == chat.held:
            break
    total, word, steps = worked(a, b, kind)
    if rng.random() < 0.15 and kind in "+-" and b > 0:
        item = w.ITEMS.pick(rng, chat.held)
        more = "buy {b} more" if kind == "+" else "sell {b}"
        chat.user(f"I have {a} {item} cards and {more.format(b=b)}. How many do I have?")
        chat.say(f"You have {total} {item} cards.", steps)
        return
    sign = rng.choice((kind, kind, kind, word, "*" if kind == "x" else kind))
    text = f"{a} {sign} {b}"
    chat.user(rng.choice(("What is {}?", "What is {}?", "Calculate {}.", "How much is {}?", "{}", "{} = ?", "Compute {}.", "Can you tell me {}?")).format(text))
    chat.say(f"{a} {kind} {b} = {total}.", steps)


def turn_call(chat, result=True, tool=None):
    rng = chat.rng
    use = (tool or rng.choice(chat.tools)).use(rng)
    chat.last = use
    chat.user(decorate(rng, use.ask))
    ids = chat.call([use], f"I call {use.thought()}.")
    if result:
        chat.result(ids[0], use)
        chat.say(use.answer, "I have the result.")


def turn_again(chat):
    """And in Paris?"""
    rng = chat.rng
    found = chat.last.tool.again(rng, chat.last) if chat.last is not None and isinstance(chat.last.tool, FamilyTool) else None
    if found is None:
        return turn_call(chat)
    _, new, use = found
    to = {"city": "in ", "language": "in ", "date": "on ", "target": "in "}.get(FOLLOWED[use.tool.family.names[0]], "")
    chat.user(rng.choice(("And {t}{n}?", "What about {n}?", "And {t}{n}?", "Now the same for {n}.", "And for {n}?")).format(t=to, n=new))
    ids = chat.call([use], f"I call {use.thought()}.")
    chat.result(ids[0], use)
    chat.say(use.answer, "I have the result.")
    return None


def _lower(text):
    # Names at the start keep their capital.
    first = text.split(" ", 1)[0].strip(",.:?")
    plain = {"What", "How", "Please", "Can", "Could", "Set", "Show", "Give", "Find", "Send", "Add", "Create", "Is", "Where", "Which", "Turn", "Play",
             "Book", "Order", "Search", "Look", "Convert", "Translate", "Tell", "Read", "Delete", "Write", "Put", "Start", "Remind", "Text", "Email",
             "Get", "Make", "Schedule", "Reserve", "Calculate", "Compute", "List", "Remove", "Save", "Open", "Call", "Use", "Run", "Let", "Will"}
    return text[0].lower() + text[1:] if first in plain or first.lower() in w.VERBS.all else text


def _stem(text):
    return text[:-1] if text[-1] in ".?!" else text


def two_uses(chat):
    """Two requests: of two tools, or two of the same tool."""
    rng = chat.rng
    tool = rng.choice(chat.tools)
    other = tool
    if len(chat.tools) > 1 and rng.random() < 0.6:
        other = rng.choice([t for t in chat.tools if t is not tool])
    return tool.use(rng), other.use(rng)


def turn_two(chat, results=True):
    """Both at once."""
    rng = chat.rng
    a, b = two_uses(chat)
    found = a.tool.again(rng, a) if isinstance(a.tool, FamilyTool) and rng.random() < 0.5 else None
    if found:
        # One request with two values: the weather in Oslo and Paris.
        old, new, b = found
        second = rng.choice((" and ", " and ", " and also ", " and in " if "in " + str(old) in a.ask else " and "))
        chat.user(decorate(rng, a.ask.replace(str(old), f"{old}{second}{new}")))
    else:
        ask_two(chat, a, b)
    ids = chat.call([a, b], f"I call {a.thought()} and {b.thought()}.")
    if results:
        for call_id, use in zip(ids, (a, b)):
            chat.result(call_id, use)
        chat.say(f"{a.answer} {b.answer}", "I have the results.")


def ask_two(chat, a, b):
    rng = chat.rng
    second = _lower(b.ask)
    chat.user(rng.choice(("{a}. Also {b}", "{a} and also {b}", "{a} and {b}", "Two things: {a}, and {b}", "{a}. And {b}", "1. {A} 2. {B}", "Both please: {a}, and {b}"))
              .format(a=_stem(a.ask), b=second, A=a.ask if a.ask[-1] in ".?!" else a.ask + ".", B=b.ask))


def turn_chain(chat, results=2):
    """One after the other."""
    rng = chat.rng
    a, b = two_uses(chat)
    chat.user(rng.choice(("First {a}. Then {b}", "First {a}, then {b}", "Start with this: {a}. After that {b}"))
              .format(a=_lower(_stem(a.ask)), b=_lower(b.ask)))
    ids = chat.call([a], f"First I call {a.thought()}.")
    chat.result(ids[0], a)
    ids = chat.call([b], f"Now I call {b.thought()}.")
    if results == 2:
        chat.result(ids[0], b)
        chat.say(f"{a.answer} {b.answer}", "I have the results.")


def turn_no_tool(chat):
    rng = chat.rng
    # Requests for tools that everybody declares tempt most to call what is not there.
    generic = None if chat.held or rng.random() < 0.5 else 0.0
    for _ in range(40):
        other = make_tools(rng, 1, chat.held, generic)[0]
        if not any(related(other, tool) for tool in chat.tools):
            break
    else:
        return turn_talk(chat)
    chat.user(decorate(rng, other.use(rng).ask))
    chat.say(NO_TOOL if chat.tools else NO_TOOLS, "None of the tools fits." if chat.tools else "I have no tools.")
    return None


def turn_missing(chat):
    """The user names no value of the parameters that are required."""
    rng = chat.rng
    tools = [t for t in chat.tools if isinstance(t, GenericTool) and t.required]
    if not tools:
        return turn_call(chat)
    tool = rng.choice(tools)
    chat.user(decorate(rng, tool.request(rng, {})))
    names = [n for n in tool.order if n in tool.required]
    chat.say("Please tell me " + joined([f"the {spaced(n)}" for n in names]) + ".", "I do not know " + joined(names) + ".")
    if rng.random() < 0.4:
        use = tool.use(rng, plain=True)
        items = [(k, v) for k, v in use.arguments.items()]
        chat.user(joined([f"{spaced(k)} {json.dumps(v) if isinstance(v, bool) else v}" for k, v in items]))
        chat.call([use], f"I call {use.thought()}.")
    return None


MEMORIES = [
    ("name", w.NAMES, ("My name is {}.", "I am {}.", "Call me {}."), "Nice to meet you, {}!", ("What is my name?", "Who am I?", "Do you know my name?"), "Your name is {}.", "The user is called {}."),
    ("city", w.CITIES, ("I live in {}.", "I come from {}.", "My home is {}."), "I hear {} is nice.", ("Where do I live?", "Which city do I live in?"), "You live in {}.", "The user lives in {}."),
    ("color", w.COLORS, ("My favorite color is {}.", "I like {} best of all colors."), "I will remember {}.", ("What is my favorite color?", "Which color do I like?"), "Your favorite color is {}.", "The user's favorite color is {}."),
    ("food", w.FOODS, ("I love {}.", "My favorite food is {}."), "I will remember {}.", ("What food do I love?", "What do I like to eat?"), "You love {}.", "The user loves {}."),
    ("thing", w.ITEMS, ("I need a new {}.", "I lost my {}."), "I am sorry about the {}.", ("What do I need?", "What was it that I lost?"), "It is the {}.", "The user needs a {}."),
]


def turn_memory(chat):
    """Something about the user, asked for later."""
    rng = chat.rng
    unknown = [m for m in MEMORIES if m[0] not in chat.known]
    if chat.known and (not unknown or rng.random() < 0.6):
        key = rng.choice(list(chat.known))
        memory = next(m for m in MEMORIES if m[0] == key)
        chat.user(rng.choice(memory[4]))
        chat.say(memory[5].format(chat.known[key]), "The user told me.")
        return
    memory = rng.choice(unknown)
    value = w.made_up(rng, chat.held).title() if memory[0] in ("name", "city") and rng.random() < 0.3 else memory[1].pick(rng, chat.held)
    chat.known[memory[0]] = value
    chat.user(rng.choice(memory[2]).format(value))
    chat.say(memory[3].format(value), "The user tells me something.")


def turn_reading(chat):
    """A question about two or three sentences."""
    rng, held = chat.rng, chat.held
    n = rng.randint(2, 4)
    names, items = [], []
    while len(names) < n:
        name, item = w.NAMES.pick(rng, held), w.ADJECTIVES.pick(rng, held) + " " + w.ITEMS.pick(rng, held)
        if name not in names and item.split()[1] not in [i.split()[1] for i in items]:
            names.append(name)
            items.append(item)
    i = rng.randrange(n)
    text = " ".join(f"{a} has a {b}." for a, b in zip(names, items))
    if rng.random() < 0.5:
        chat.user(f"{text} What does {names[i]} have?")
    else:
        chat.user(f"{text} Who has the {items[i].split()[1]}?")
    chat.say(f"{names[i]} has the {items[i]}.", f"{names[i]} has a {items[i]}.")


def copy_text(rng, held):
    kind = rng.random()
    if kind < 0.25:
        return " ".join(w.made_up(rng, held) for _ in range(rng.randint(1, 5)))
    if kind < 0.4:
        return " ".join(w.NOUNS.pick(rng, held) for _ in range(rng.randint(2, 6)))
    if kind < 0.55:
        return " ".join(w.code(rng) for _ in range(rng.randint(1, 3)))
    if kind < 0.75:
        keys = {w.RESULT_KEYS.pick(rng, held): rng.choice((w.made_up(rng, held), rng.randint(0, 999), w.NAMES.pick(rng, held), w.code(rng)))
                for _ in range(rng.randint(1, 4))}
        return json.dumps(keys)
    if kind < 0.85:
        return rng.choice((w.email(rng, held), w.path(rng, held), w.date(rng)))
    return rng.choice((w.MESSAGES, w.TODOS, w.TITLES, w.QUERIES)).pick(rng, held)


def turn_repeat(chat):
    text = copy_text(chat.rng, chat.held)
    chat.user(chat.rng.choice(("Repeat: {}", "Say: {}", "Repeat this: {}", "Copy this: {}", 'Repeat after me: {}', "Write: {}")).format(text))
    chat.say(text, "I repeat it.")


# ---- conversations ----

def chat_for(rng, kind, stage, held=False, thinking=None):
    """A chat of one kind; also the category that it counts for."""
    tools = []
    if kind in ("call", "result", "two", "chain", "no_tool", "missing"):
        tools = some_tools(rng, held, stage)
        if kind == "missing":
            tools += make_tools(rng, 1, held, generic=1.0)
        if kind == "no_tool" and rng.random() < 0.12:
            tools = []
    elif rng.random() < (0.3 if kind in ("talk", "fact", "sum") else 0.1) and stage > 1:
        tools = [t for t in some_tools(rng, held, stage) if not (isinstance(t, FamilyTool) and t.family.names[0] == "calculate")]
    if kind == "sum" and not held and thinking is None:
        # Sums are worked out in the reasoning; without it few can be.
        thinking = rng.random() < 0.8
    if kind in ("no_tool", "choose") and not held and thinking is None:
        # Without reasoning the first word decides, which is harder.
        thinking = rng.random() < 0.4
    chat = Chat(rng, held, tools, thinking)
    if kind == "multi":
        return multi(rng, stage, held, thinking)
    if kind == "choose":
        return choose(rng, stage, held, thinking)
    {
        "talk": turn_talk, "fact": quiz(turn_fact, stage), "sum": quiz(turn_sum, stage), "repeat": turn_repeat, "reading": turn_reading,
        "call": lambda c: turn_call(c, result=False), "result": turn_call, "two": lambda c: turn_two(c, rng.random() < 0.5),
        "chain": turn_chain, "no_tool": turn_no_tool, "missing": turn_missing, "memory": memory,
    }[kind](chat)
    return chat


def quiz(turn, stage):
    """The same sort of question several times: short turns cost little, and must be seen often."""
    def turns(chat):
        if stage == 1:
            return turn(chat)
        for _ in range(chat.rng.choice((0, 1, 2, 3, 4))):
            (turn if chat.rng.random() < 0.9 else turn_talk)(chat)
        return turn(chat)
    return turns


def memory(chat):
    rng = chat.rng
    if rng.random() < 0.3:
        entry = rng.choice(MEMORIES)
        value = entry[1].pick(rng, chat.held)
        chat.messages = [{"role": "system", "content": entry[6].format(value)}]
        chat.known[entry[0]] = value
        chat.user(rng.choice(entry[4]))
        chat.say(entry[5].format(value), "I was told.")
        return
    for _ in range(rng.randint(2, 4)):
        turn_memory(chat)


def choose(rng, stage, held=False, thinking=None):
    """Requests that a tool fits and others, to the same tools: a decision every few tokens."""
    chat = Chat(rng, held, some_tools(rng, held, stage), thinking)
    for _ in range(rng.randint(3, 6)):
        if rng.random() < 0.5:
            turn_no_tool(chat)
        else:
            turn_call(chat, result=False)
    return chat


def multi(rng, stage, held=False, thinking=None, turns=None):
    """Several turns of all kinds, most with tools."""
    tools = some_tools(rng, held, stage) if rng.random() < 0.85 else []
    chat = Chat(rng, held, tools, thinking)
    for _ in range(turns or rng.randint(2, 3) if stage < 3 else rng.randint(2, 6)):
        if not chat.tools:
            rng.choice((turn_talk, turn_fact, turn_sum, turn_memory, turn_memory, turn_reading, turn_repeat))(chat)
            continue
        turn = rng.choices((turn_call, turn_again, turn_two, turn_chain, turn_no_tool, turn_talk, turn_fact, turn_sum, turn_memory),
                           (38, 12, 8, 6, 6, 8, 8, 6, 8))[0]
        if turn is turn_sum and any(isinstance(t, FamilyTool) and t.family.names[0] == "calculate" for t in chat.tools):
            turn = turn_talk
        turn(chat)
    return chat


