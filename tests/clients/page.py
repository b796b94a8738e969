"""Uses the server's page in a browser, as people do, with the demonstration model.

usage: page.py BASE_URL BASE_URL_OF_A_SERVER_THAT_DEMANDS_THE_KEY_moon
The browser is the program of the environment variable PERIGEE_TEST_BROWSER.
Prints one line a check, then "all passed"; any failed assertion ends it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

from playwright.sync_api import expect, sync_playwright

HOME, LOCKED_HOME = (url.removesuffix("v1") for url in sys.argv[1:3])
KEY = "moon"

WHO = "Who are you?"
I_AM = "I am a demonstration model of Perigee, not Kimi. I am tiny, but I can call tools."
WEATHER = "What is the weather in Oslo?"
RESULT = '{"temperature": 12, "sky": "cloudy"}'
FORECAST = "It is 12 degrees and cloudy in Oslo."

# Gives the page only the first events of an answer, then another one, or nothing until the page
# hangs up: what is checked in the middle of a stream cannot be over before it is checked.
HOLD = """
window.heldAfter = null;
window.lastEvent = null;
const real = window.fetch;
window.fetch = async (address, options) => {
  const response = await real(address, options);
  if (window.heldAfter === null || !options?.signal || !response.ok) return response;
  const [limit, last] = [window.heldAfter, window.lastEvent];
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const stream = new ReadableStream({
    async start(controller) {
      options.signal.addEventListener("abort", () => controller.error(new DOMException("", "AbortError")));
      let events = [];
      for (let text = ""; events.length <= limit; events = text.split("\\n\\n")) text += (await reader.read()).value;
      events = [...events.slice(0, limit), ...(last ? [`data: ${last}`] : [])];
      controller.enqueue(new TextEncoder().encode(events.map((event) => `${event}\\n\\n`).join("")));
      if (last) controller.close();
    },
  });
  return new Response(stream);
};
"""


@contextmanager
def opened(home, **options):
    """A fresh browser's page, which must stay on its server and log no error."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(HOLD)
    elsewhere, errors = [], []
    page.on("request", lambda request: request.url.startswith(home) or elsewhere.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    # The browser itself logs every answer with a status of 400 or more; the page shows them.
    page.on(
        "console",
        lambda message: message.type != "error"
        or message.text.startswith("Failed to load resource")
        or errors.append(message.text),
    )
    page.goto(home)
    expect(page.locator("#model")).to_contain_text("perigee-demo")
    yield page
    assert not elsewhere, elsewhere
    assert not errors, errors
    context.close()


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def box(page):
    return page.get_by_label("Message", exact=True)


def answers(page):
    return page.locator("article.answer")


def setting(page, thinking=False, **fields):
    """Changes settings; the most likely token is always taken."""
    button(page, "Settings").click()
    page.get_by_label("Think before answering").set_checked(thinking)
    for label, text in {"Temperature": "0", **{name.replace("_", " "): text for name, text in fields.items()}}.items():
        page.get_by_label(label, exact=True).fill(text)
    button(page, "Done").click()


def say(page, text):
    box(page).fill(text)
    box(page).press("Enter")


def finished(page):
    """While an answer streams, there is a Stop button in the place of this one."""
    expect(button(page, "Send")).to_be_visible()


def hold(page, after, then=None):
    page.evaluate("([n, event]) => { heldAfter = n; lastEvent = event; }", [after, then and json.dumps(then)])


def says_what_it_is(page):
    expect(page.locator("#banner")).to_be_visible()
    expect(page.locator("#banner")).to_contain_text("demonstration model of Perigee, not Kimi")
    expect(page.locator("#model")).to_have_text("perigee-demo, 8,192 tokens of context")
    expect(page).to_have_title("perigee-demo · Perigee")


def answers_without_thinking(page):
    setting(page)
    say(page, WHO)
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    finished(page)
    expect(page.locator("article.question .said")).to_have_text(WHO)
    expect(page.locator("details.thinking")).to_be_hidden()
    expect(answers(page).locator(".row .counts")).to_contain_text("tokens/s")
    expect(box(page)).to_have_value("")


def folds_its_thinking(page):
    setting(page, thinking=True)
    say(page, WHO)
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    finished(page)
    thinking = page.locator("details.thinking")
    assert thinking.get_attribute("open") is None
    expect(thinking.locator("summary")).to_contain_text("Thought for")
    thinking.locator("summary").click()
    expect(thinking.locator(".said")).to_have_text("This is small talk.")


def keeps_the_conversation(page):
    setting(page, thinking=True)
    say(page, WHO)
    finished(page)
    box(page).fill("a draft")
    page.reload()
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    expect(box(page)).to_have_value("a draft")
    # The second turn begins with the first one, thinking included, which the server has cached.
    say(page, WHO)
    expect(answers(page).nth(1).locator(".row .counts")).to_contain_text("cached")
    expect(answers(page).nth(1).locator(".markdown")).to_have_text(I_AM)


def survives_a_reload_in_the_middle(page):
    setting(page)
    hold(page, 5)
    say(page, WHO)
    expect(answers(page).locator(".markdown")).to_have_text("I am a")
    page.reload()
    expect(answers(page).locator(".markdown")).to_have_text("I am a")
    expect(answers(page).locator(".row .counts")).to_have_text("stopped")
    hold(page, 1)
    say(page, "Thanks!")
    expect(page.locator(".waiting").last).to_be_visible()
    box(page).fill("a draft")
    page.reload()
    expect(box(page)).to_have_value("Thanks!\n\na draft")
    expect(page.locator("article")).to_have_count(2)


def calls_a_tool(page):
    button(page, "Settings").click()
    button(page, "Insert an example").click()
    button(page, "Done").click()
    setting(page, thinking=True)
    say(page, WEATHER)
    call = page.locator(".call")
    expect(call.locator("h3")).to_have_text("Calls get_weather")
    finished(page)
    assert json.loads(call.locator("pre").first.inner_text()) == {"city": "Oslo"}
    # The box was made while the call was still arriving, and must have room for a line.
    assert page.get_by_label("Result of get_weather").bounding_box()["height"] > 24
    page.get_by_label("Result of get_weather").fill(RESULT)
    # Results that are typed and not sent yet are kept too.
    page.reload()
    expect(page.get_by_label("Result of get_weather")).to_have_value(RESULT)
    button(page, "Send results").click()
    expect(answers(page).nth(1).locator(".markdown")).to_have_text(FORECAST)
    finished(page)
    expect(button(page, "Send results")).to_be_hidden()


def stops_and_goes_on(page):
    setting(page)
    # Opening, progress, three words.
    hold(page, 5)
    say(page, WHO)
    expect(answers(page).locator(".markdown")).to_have_text("I am a")
    button(page, "Stop").click()
    finished(page)
    expect(answers(page).locator(".markdown")).to_have_text("I am a")
    expect(answers(page).locator(".row .counts")).to_have_text("stopped")
    # Before the first word there is nothing to keep, and the question comes back.
    hold(page, 1)
    say(page, "Thanks!")
    box(page).fill("typed meanwhile")
    box(page).press("Escape")
    finished(page)
    expect(box(page)).to_have_value("Thanks!\n\ntyped meanwhile")
    expect(page.locator("article.question")).to_have_count(1)
    hold(page, None)
    button(page, "Regenerate").click()
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)


def edits_and_regenerates(page):
    setting(page)
    say(page, "Hello! My name is Anna.")
    finished(page)
    say(page, "Thanks!")
    finished(page)
    expect(answers(page)).to_have_count(2)
    page.locator("article.question").first.get_by_role("button", name="Edit").click()
    editor = page.get_by_label("Edit the message")
    expect(editor).to_have_value("Hello! My name is Anna.")
    editor.fill(WHO)
    editor.press("Enter")
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    finished(page)
    button(page, "Regenerate").click()
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    finished(page)
    expect(page.locator("article")).to_have_count(2)


def begins_anew_and_undoes(page):
    setting(page)
    say(page, WHO)
    finished(page)
    button(page, "New").click()
    expect(page.locator("article")).to_have_count(0)
    button(page, "Undo").click()
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    button(page, "New").click()
    say(page, "Thanks!")
    expect(answers(page).locator(".markdown")).to_have_text("You are welcome!")
    expect(button(page, "Undo")).to_be_hidden()


def shows_text_as_text(page):
    setting(page, Most_tokens="20")
    attack = "<img src=x onerror=\"window.ran = true\"> <b>bold</b> **stars**"
    say(page, attack)
    expect(page.locator("article.question .said")).to_have_text(attack)
    finished(page)
    assert page.locator("article img, article.question b, article.question strong").count() == 0
    assert page.evaluate("window.ran") is None


MARKDOWN = """\
# Title

Some **bold**, *italic* and `code`; <i>no html</i>, snake_case_name.
1968. A year, not a list.

1. one
   - inner
     deeper
2. two

| a | b |
|---|--:|
| 1 | 2 |

```html
<script>window.ran = true</script>"""


def renders_markdown(page):
    page.evaluate(
        """async (text) => {
          const { render } = await import("./page/markdown.js");
          const [streamed, whole] = ["streamed", "whole"].map((id) => {
            const container = document.createElement("div");
            container.id = id;
            document.querySelector("main").append(container);
            return container;
          });
          for (let n = 0; n <= text.length; n += 1) render(streamed, text.slice(0, n));
          render(whole, text);
        }""",
        MARKDOWN,
    )
    streamed, whole = page.locator("#streamed"), page.locator("#whole")
    assert streamed.inner_html() == whole.inner_html()
    expect(whole.locator("h2")).to_have_text("Title")
    expect(whole.locator("strong")).to_have_text("bold")
    expect(whole.locator("em")).to_have_text("italic")
    expect(whole.locator("p code")).to_have_text("code")
    expect(whole.locator("p")).to_contain_text("<i>no html</i>, snake_case_name. 1968. A year")
    expect(whole.locator("ol > li")).to_have_count(2)
    expect(whole.locator("ol ul > li")).to_contain_text("inner")
    expect(whole.locator("td")).to_have_text(["1", "2"])
    # Not closed yet, and code already.
    expect(whole.locator("pre")).to_have_text("<script>window.ran = true</script>")
    assert page.evaluate("window.ran") is None
    whole.get_by_role("button", name="Copy").click()
    expect(whole.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "<script>window.ran = true</script>"


def gives_back_what_is_too_long(page):
    text = "word " * 9000
    say(page, text)
    expect(page.locator("#problem-text")).to_contain_text("maximum context length is 8192 tokens")
    expect(box(page)).to_have_value(text)
    expect(page.locator("article")).to_have_count(0)
    # The same for a message that is edited, and what follows it stays.
    setting(page)
    say(page, WHO)
    finished(page)
    button(page, "Edit").click()
    page.get_by_label("Edit the message").fill(text)
    page.get_by_label("Edit the message").press("Enter")
    expect(page.get_by_label("Edit the message")).to_have_value(text)
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)


def shows_how_the_prompt_is_read(page):
    setting(page, Most_tokens="1")
    hold(page, 2)
    # New to the server, whatever it has cached.
    say(page, f"{time.time_ns()} " + "word " * 3000)
    # Steps of 512 tokens, behind the few that are cached.
    expect(page.locator(".waiting")).to_have_text(re.compile("reading the prompt: 5[0-9]{2} of 6,[0-9]{3} tokens"))
    bar = page.get_by_label("Prompt", exact=True)
    assert 500 < bar.evaluate("bar => bar.value") < 600 and bar.evaluate("bar => bar.max") > 6000
    box(page).press("Escape")
    finished(page)


def shows_errors_in_the_stream(page):
    setting(page)
    hold(page, 5, {"error": {"message": "the model has lost its voice"}})
    say(page, WHO)
    expect(answers(page).locator(".problem")).to_have_text("the model has lost its voice")
    expect(answers(page).locator(".markdown")).to_have_text("I am a")
    hold(page, 5, {"choices": []})
    button(page, "Regenerate").click()
    expect(answers(page).locator(".problem")).to_contain_text("ended before the answer did")


def names_what_cut_an_answer_off(page):
    setting(page, Most_tokens="3")
    say(page, WHO)
    expect(answers(page).locator(".row .counts")).to_contain_text("(length)")
    expect(answers(page).locator(".markdown")).to_have_text("I am a")


def checks_its_settings(page):
    button(page, "Settings").click()
    for field, text, problem in (
        ("Tools, a list in JSON", '[{"type": "function"', "JSON"),
        ("Tools, a list in JSON", "{}", "expected a list of tools"),
        ("Tools, a list in JSON", "[{}]", "tool 1 has no function.name"),
        ("Temperature", "warm", "expected a number from 0"),
        ("Most tokens", "1.5", "expected a whole number"),
    ):
        page.get_by_label(field, exact=True).fill(text)
        expect(page.locator("dialog")).to_contain_text(problem)
    button(page, "Done").click()
    say(page, WHO)
    expect(page.locator("#problem-text")).to_contain_text("temperature: expected a number")
    expect(box(page)).to_have_value(WHO)


def copies_what_it_would_send(page):
    setting(page, System_prompt="It's a test.")
    box(page).fill(WHO)
    button(page, "Settings").click()
    button(page, "Copy as curl").click()
    expect(page.locator("#curl-said")).to_have_text("Copied.")
    command = page.evaluate("navigator.clipboard.readText()")
    button(page, "Done").click()
    with page.expect_request("**/chat/completions") as sent:
        box(page).press("Enter")
    body = sent.value.post_data
    assert json.loads(command.split(" -d '")[1].removesuffix("'").replace("'\\''", "'")) == json.loads(body), command
    finished(page)
    if shutil.which("curl"):
        output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
        chunks = [json.loads(line[6:]) for line in output.splitlines() if line.startswith("data: {")]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        said = "".join(delta.get("content", "") for delta in deltas)
        expect(answers(page).locator(".markdown")).to_have_text(said)


def waits_while_the_model_loads(page):
    loading = {"error": {"message": "Loading model", "progress": 0.25}}
    page.route("**/health", lambda route: route.fulfill(status=503, json=loading))
    page.reload()
    expect(page.locator("#status-text")).to_contain_text("Loading the model: 25 %")
    say(page, WHO)
    expect(button(page, "Send")).to_be_disabled()
    expect(box(page)).to_have_value(WHO)
    page.unroute("**/health")
    expect(page.locator("#status")).to_be_hidden()
    setting(page)
    box(page).press("Enter")
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)


def outlives_the_server(page):
    setting(page)
    for pattern in ("**/health", "**/chat/completions"):
        page.route(pattern, lambda route: route.abort())
    say(page, WHO)
    expect(page.locator("#status-text")).to_contain_text("The server does not answer")
    expect(page.locator("#problem-text")).to_contain_text("The server does not answer")
    expect(box(page)).to_have_value(WHO)
    for pattern in ("**/health", "**/chat/completions"):
        page.unroute(pattern)
    button(page, "Try now").click()
    expect(page.locator("#status")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()
    button(page, "Send").click()
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)


def works_under_a_prefix(page):
    prefixed = HOME + "moons/one/"
    page.route(prefixed + "**", lambda route: route.fulfill(
        response=route.fetch(url=route.request.url.replace(prefixed, HOME))))
    paths = []
    page.on("request", lambda request: paths.append(request.url))
    page.goto(prefixed)
    setting(page)
    say(page, WHO)
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    assert len(paths) > 8 and all(path.startswith(prefixed) for path in paths), paths


def fits_a_telephone(page):
    says_what_it_is(page)
    # To what it has not learnt, the model may answer without end.
    setting(page, Most_tokens="20")
    say(page, "x" * 300)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    button(page, "Settings").click()
    button(page, "Insert an example").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(button(page, "Done")).to_be_visible()


def asks_for_the_key(page):
    setting(page)
    say(page, WHO)
    field = page.get_by_label("This server asks for a key.")
    field.fill("sun")
    field.press("Enter")
    field = page.get_by_label("The server does not accept this key.")
    button(page, "Cancel").click()
    expect(box(page)).to_have_value(WHO)
    expect(field).to_be_hidden()
    button(page, "Send").click()
    field.fill(KEY)
    button(page, "Use key").click()
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    finished(page)
    # It is kept.
    page.reload()
    button(page, "Regenerate").click()
    finished(page)
    expect(answers(page).locator(".markdown")).to_have_text(I_AM)
    expect(page.locator("#key-form")).to_be_hidden()


CHECKS = (
    says_what_it_is,
    answers_without_thinking,
    folds_its_thinking,
    keeps_the_conversation,
    survives_a_reload_in_the_middle,
    calls_a_tool,
    stops_and_goes_on,
    edits_and_regenerates,
    begins_anew_and_undoes,
    shows_text_as_text,
    renders_markdown,
    gives_back_what_is_too_long,
    shows_how_the_prompt_is_read,
    shows_errors_in_the_stream,
    names_what_cut_an_answer_off,
    checks_its_settings,
    copies_what_it_would_send,
    waits_while_the_model_loads,
    outlives_the_server,
    works_under_a_prefix,
)

with sync_playwright() as playwright:
    program = shutil.which(os.environ["PERIGEE_TEST_BROWSER"])
    # Containers run as root, where the browser refuses its sandbox.
    browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
    expect.set_options(timeout=60_000)
    for check in CHECKS:
        with opened(HOME) as page:
            check(page)
        print("ok", check.__name__)
    with opened(HOME, viewport={"width": 390, "height": 800}) as page:
        fits_a_telephone(page)
    print("ok", fits_a_telephone.__name__)
    with opened(LOCKED_HOME) as page:
        asks_for_the_key(page)
    print("ok", asks_for_the_key.__name__)
    browser.close()
print("all passed")
