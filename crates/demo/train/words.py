"""Word lists. One eighth of every list, chosen by a checksum, is reserved for the held-out set.

In training four picks in ten are strangers instead: words glued from random tokens of the vocabulary. A model
that only meets known words learns which word is likely and never has to copy. A single token may be a reserved
word: as a token that never occurs it could not be copied, nor be known with a capital.
"""

import functools
import json
import re
import zlib
from pathlib import Path

from plain_text import paragraphs

STRANGERS = 0.4


# Words of so many real tools that the model should know them.
COMMON = {"get", "create", "show", "book", "order", "user", "ticket", "document", "weather"}


def article(noun):
    return "an" if noun[0] in "aeiou" and not noun.startswith("us") else "a"


def reserved(text):
    """Whether a value belongs to the held-out set and is never trained on."""
    return text.lower() not in COMMON and zlib.crc32(("perigee:" + text.lower()).encode()) % 8 == 0


class Words:
    """A list in its two parts; `pick` takes from the part that the caller may use, or makes up a stranger."""

    def __init__(self, text, separator=None):
        words = [" ".join(w.split()) for w in text.split(separator)]
        words = list(dict.fromkeys(w for w in words if w))
        self.train = [w for w in words if not reserved(w)]
        self.held = [w for w in words if reserved(w)]
        self.all = words

    def pick(self, rng, held=False):
        word = rng.choice(self.held if held and self.held else self.train)
        return word if held or rng.random() >= STRANGERS else stranger(rng, word)


def _letter_tokens():
    """Tokens of the vocabulary that are letters only, in lower case."""
    tokens = json.loads((Path(__file__).parent / "vocabulary.json").read_text())["tokens"]
    return sorted({t.lower() for t in tokens[256:] if re.fullmatch("[A-Za-z]{2,}", t)})


TOKENS = _letter_tokens()


# Words that often follow a value, and so look like its end.
SMALL = "to in at for the of on a is by my from as with and".split()


def glued(rng):
    """One to three random tokens as one word, one in sixteen after a small word (today, into); several are no reserved word."""
    while True:
        n = rng.choice((1, 1, 1, 2, 2, 3))
        word = "".join(rng.choice(TOKENS) for _ in range(n))
        if rng.random() < 0.06:
            n, word = n + 1, rng.choice(SMALL) + word
        if 3 <= len(word) <= 14 and (n == 1 or not reserved(word)):
            return word


def stranger(rng, like):
    """A value of the same form whose words, or half of them in a phrase, are glued from random tokens."""
    share = 0.5 if " " in like else 1.0

    def swap(match):
        word = match[0]
        if rng.random() >= share:
            return word
        if share < 1.0 and match.start() and rng.random() < 0.15:
            return rng.choice(SMALL[:9])
        new = glued(rng)
        return new.upper() if word.isupper() else new.title() if word[0].isupper() else new

    # A file name gets another ending.
    if re.fullmatch(r"\w+\.\w+", like):
        like = like.split(".")[0] + "." + rng.choice(FILES.all).split(".")[1]
    if " " in like and not like.istitle() and rng.random() < 0.4:
        return phrase(rng)
    return re.sub(r"(?<![.\w])[A-Za-z]{2,}|(?<=_)[A-Za-z]{2,}", swap, like)


@functools.cache
def _prose():
    return [re.findall("[A-Za-z]+(?:'[a-z]+)?", sentence) for p in paragraphs("train") for sentence in re.split("[.:!?]", p)]


LAST = "today tomorrow now again soon please here there tonight later too well back out down".split()


def phrase(rng):
    """Two to seven words of prose, or frame words and strangers; it may end in any word, as "see you today" does."""
    if rng.random() < 0.6:
        sentence = ()
        while len(sentence) < 3:
            sentence = rng.choice(_prose())
        first = rng.randrange(len(sentence) - 2)
        found = sentence[first : first + rng.randint(2, 7)]
    else:
        found = [rng.choice((*SMALL, *LAST)) if rng.random() < 0.35 else glued(rng) for _ in range(rng.randint(2, 5))]
    if rng.random() < 0.25:
        found = [*found[:5], rng.choice(LAST)]
    text = " ".join(found)
    return phrase(rng) if reserved(text) else text


CITIES = Words("""Oslo Paris London Berlin Rome Madrid Lisbon Vienna Prague Warsaw Athens Dublin Helsinki Stockholm
Copenhagen Brussels Amsterdam Budapest Bern Geneva Zurich Munich Hamburg Cologne Milan Naples Turin Venice Florence
Barcelona Seville Valencia Porto Lyon Nice Bordeaux Lille Glasgow Leeds Bristol Oxford Cork Bergen Malmo Aarhus Turku
Tampere Riga Vilnius Tallinn Minsk Kyiv Odessa Lviv Sofia Bucharest Belgrade Zagreb Split Sarajevo Skopje Tirana
Istanbul Ankara Izmir Cairo Tunis Rabat Algiers Lagos Accra Dakar Nairobi Kampala Lusaka Harare Luanda Durban Tehran
Baghdad Amman Beirut Doha Dubai Muscat Riyadh Jeddah Kabul Karachi Lahore Delhi Mumbai Chennai Kolkata Pune Dhaka
Colombo Male Kathmandu Bangkok Hanoi Manila Jakarta Bali Singapore Seoul Busan Tokyo Osaka Kyoto Nagoya Sapporo
Beijing Shanghai Shenzhen Taipei Macau Sydney Perth Brisbane Hobart Darwin Auckland Wellington Suva Boston Chicago
Denver Dallas Houston Austin Seattle Portland Miami Atlanta Detroit Phoenix Memphis Toronto Montreal Ottawa Calgary
Vancouver Halifax Havana Lima Quito Bogota Caracas Santiago Brasilia Recife Salvador Cordoba Rosario Montevideo
Reykjavik Nuuk Valletta Nicosia Luxembourg Monaco Antwerp Ghent Utrecht Leiden Basel Graz Linz Salzburg Dresden Leipzig
Bremen Krakow Gdansk Brno Kosice Pecs Cluj Varna Patras Palermo Bologna Verona Genoa Bilbao Malaga Granada""")

NAMES = Words("""Anna Ben Clara David Emma Felix Grace Henry Ida Jonas Karin Leo Maria Noah Olga Paul Rosa Sam Tina Victor
Wanda Yusuf Zoe Adam Bella Carl Dora Erik Fiona Georg Hanna Ivan Julia Kevin Laura Mark Nina Oscar Petra Ravi Sara Tom
Uma Vera Will Xenia Yara Zack Alice Boris Cora Dan Elsa Frank Gina Hugo Iris Jack Kate Liam Mia Nora Otto Pia Quinn Rita
Simon Tara Ulrich Vivian Walter Amir Aisha Chen Diego Elena Farid Goran Hiro Ines Jamal Kenji Lena Mehmet Naomi Omar
Priya Rashid Sofia Tariq Usha Wei Yuki Zara Marta Pavel Nadia Igor Lucia Mateo Hana Emil Greta Axel Stella Bruno Heidi
Jasper Linda Oliver Peter Robert Susan Thomas Ursula Vincent Wendy Aaron Becky Cedric Daisy Edgar Flora Gordon Hazel
Irma Joel Kira Lukas Molly Nils Opal Rufus Selma Toby Viola Wilma Alan Betty Colin Doris Ernest Freya Gavin Helen""")

VERBS = Words("""get list find search create add remove delete update set send read write open close start stop check
count show load save copy move rename sort filter fetch store book cancel order buy sell pay rent reserve schedule plan
print scan upload download share sync merge split join pack unpack lock unlock enable disable mute play pause record
measure weigh track follow watch notify remind call invite assign approve reject review publish archive restore backup
convert translate compute calculate compare validate verify inspect analyze draw paint render export import install
launch restart reset clean wash cook bake heat cool fill drain water feed plant mix grind cut fold paste clear build
test deploy ping trace log rate label tag pin mark attach detach link encode decode sign stamp freeze melt polish repair""")

NOUNS = Words("""user account order invoice ticket event meeting task note file folder document report message email
contact customer product item cart payment refund ticket room table seat flight train bus taxi hotel car bike route map
place city country weather forecast alarm timer clock calendar reminder song album playlist video photo image camera
light lamp door window heater fan oven fridge robot drone sensor printer scanner server database backup index query
record row column page chapter book library author recipe meal ingredient soup bread cake salad coffee tea bottle glass
garden tree flower seed field farm animal cat dog horse bird fish river lake mountain island beach forest road bridge
tower house kitchen office desk chair shelf box bag parcel letter stamp coin price stock fund loan budget salary tax
contract license key token password session device phone tablet laptop screen cable battery engine wheel tire tank pump
valve pipe filter signal channel station antenna rocket satellite orbit planet star comet crew pilot driver nurse doctor
patient clinic lesson course student teacher exam grade team player match game score goal ball ticket badge medal prize
survey vote poll form field label color theme font layout chart graph widget button menu panel log trace branch commit
issue release package module plugin job queue worker cluster node disk volume image snapshot domain certificate proxy""")

ADJECTIVES = Words("""new old big small red blue green black white round soft hard warm cold quick slow quiet loud bright dark
heavy light empty full early late young cheap fresh sweet sour salty dry wet clean dirty open hidden simple fancy tiny
huge narrow wide deep flat sharp smooth rough gentle brave calm clever eager proud lucky golden silver wooden plastic""")

COLORS = Words("red blue green yellow orange purple pink brown black white gray cyan magenta violet gold silver teal beige")

LANGUAGES = Words("""English French German Spanish Italian Dutch Danish Swedish Polish Czech Greek Turkish Arabic Hindi
Japanese Korean Chinese Russian Finnish Norwegian Portuguese Hungarian Romanian Bulgarian Latin Swahili Thai""")

CURRENCIES = Words("USD EUR GBP JPY CHF SEK NOK DKK PLN CZK HUF TRY INR CNY AUD CAD NZD BRL MXN ZAR KRW SGD")

STOCKS = Words("ACME ORBT LUNA NOVA ZETA KITE MOSS PINE RUBY SOLR TIDE VOLT WAVE XENO YARD BOLT CRAB DUNE ECHO FERN GLOW HALO")

FOODS = Words("""pizza pasta soup salad bread cheese rice beans tofu curry noodles tacos burger pancakes waffles omelet stew
risotto lasagna sushi ramen dumplings pie cake cookies muffins apples pears plums grapes lemons oranges bananas cherries
carrots potatoes onions garlic pepper spinach lentils mushrooms tomatoes milk butter eggs flour sugar honey salt oats""")

TITLES = Words("""quarterly plan; team lunch; dentist; project review; weekly sync; book club; budget talk; yoga class; piano
lesson; parent evening; code review; sales call; garden party; board meeting; job interview; car service; bike tour; movie
night; chess match; birthday dinner; moving day; tax deadline; road trip; house cleaning; design workshop; press briefing;
science fair; choir practice; flea market; product launch; farewell drinks; kick-off; safety training; lab visit; harvest
festival; opening night; summer camp; winter walk; ski weekend; harbor tour; poetry reading; blood donation; town hall;
fire drill; vet visit; eye test; haircut; bank appointment; city run; photo shoot; band practice; language course""", ";")

TODOS = Words("""buy milk; call mom; water the plants; pay the rent; walk the dog; take out the trash; feed the cat; send the
report; book a table; fix the bike; clean the oven; charge the phone; renew the passport; return the books; order new
shoes; pack the bags; wash the car; print the tickets; mow the lawn; check the mail; back up the laptop; bake a cake;
iron the shirts; paint the fence; visit grandma; write a letter; learn ten words; read the news; stretch for ten minutes;
change the filter; sharpen the knives; empty the dishwasher; sort the photos; plan the trip; cancel the subscription;
turn off the heating; bring an umbrella; pick up the parcel; lock the back door; thank the neighbors; update the website""", ";")

MESSAGES = Words("""I am on my way; the meeting is at noon; please call me back; dinner is ready; the train is late; happy
birthday; see you tomorrow; thanks for your help; the keys are under the mat; I will be ten minutes late; the package
has arrived; we won the game; do not forget the tickets; the door is open; lunch is on me; good luck today; the server is
down; the test passed; I found your book; let us meet at the station; the invoice is paid; can you bring bread; the show
starts at eight; I am home; the code is ready for review; my phone was off; congratulations on the new job; sorry for the
delay; the water is off until five; the printer works again; we moved to room four; take the second exit; it is snowing
here; the cat is fine; I changed the password; the plane has landed; your order is ready; the lights are still on""", ";")

QUERIES = Words("""best pizza nearby; how to tie a tie; cheap flights; history of the moon; rust web server; vegan cake recipe;
used bikes; solar panels; train times; learn guitar chords; healthy breakfast ideas; fix a flat tire; small garden design;
mixture of experts; winter jackets; night sky map; python sorting; quiet keyboards; coffee grinder test; running shoes;
sourdough starter; local museums; board games for two; castle tours; space news; bird songs; wood glue; paper planes;
ocean tides; lunar eclipse dates; desk lamps; hiking trails; chess openings; tea ceremony; origami crane; black holes;
home insulation; jazz festivals; electric cars; baby names; sleep better; drum lessons; wild herbs; knitting patterns""", ";")

TEXTS = Words("""good morning; where is the station; I would like a coffee; thank you very much; how much is this; the sky is
blue; I am hungry; my name is Anna; see you soon; what time is it; the house is big; I love music; it is raining; happy
new year; the book is on the table; we are friends; open the window; good night; two tickets please; I do not understand;
the cat sleeps; she reads a letter; he drinks water; the soup is hot; turn left here; close the door; welcome home; have a
nice day; the bill please; I am lost; this is my brother; the shop is closed; let us dance; we need help; the sun rises""", ";")

FILES = Words("""main.rs lib.rs notes.txt todo.md readme.md config.toml app.py index.html style.css data.csv report.pdf log.txt
test.py server.go model.py utils.js photo.png budget.xlsx draft.docx script.sh setup.cfg routes.ts users.json menu.yaml
parser.c header.h query.sql build.gradle train.py sales.csv""")

DIRS = Words("src docs tests data home tmp logs assets config backup photos music projects work public private build scripts")

ITEMS = Words("""umbrella lamp chair desk tent kettle blanket pillow mirror ladder hammer drill bucket candle vase clock radio
helmet jacket scarf gloves boots backpack suitcase notebook pencil eraser stapler keyboard monitor speaker headphones
charger camera tripod telescope compass map bicycle scooter skateboard kayak guitar violin drum flute piano puzzle""")

SKIES = Words("sunny cloudy rainy windy foggy snowy clear stormy misty overcast")

GENRES = Words("jazz rock pop folk blues techno soul reggae metal opera disco swing funk ambient")

ROOMS = Words("kitchen bedroom bathroom office garage hallway attic basement garden balcony nursery studio library lobby")

UNITS = Words("meters kilometers miles feet inches yards grams kilograms pounds ounces liters gallons cups")

RESULT_KEYS = Words("""status count total id name price size state level score rank date time color owner city speed weight
height length width age code version title type page rows items errors warnings duration distance balance amount limit
queue_length user_count row_count file_size unit_price start_time end_time room_number order_id user_name next_step""")

STATES = Words("""ok done ready open closed active idle pending failed empty full running stopped paused locked free busy new
draft final approved rejected shipped delivered late early online offline green yellow red high low medium""")

ERRORS = Words("""not found; access denied; disk full; timeout; invalid value; network down; quota exceeded; already exists;
out of stock; no such user; bad request; server busy; file is locked; wrong password; limit reached; no connection""", ";")

ONSETS = "b br c ch d dr f fl g gl gr h j k kl kr l m n p pl pr qu r s sh sk sl st t th tr v w y z".split()
VOWELS = "a e i o u ai ea io ou".split()
CODAS = " n r l s x m k t nd rn st ck".split(" ")


def made_up(rng, held=False):
    """A pronounceable word that is no word; in training half of them are glued from tokens."""
    if not held and rng.random() < 0.5:
        return glued(rng)
    while True:
        n = rng.choice((1, 2, 2, 2, 3))
        word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(n)) + rng.choice(CODAS)
        if 3 <= len(word) <= 10 and reserved(word) == held:
            return word


PLACES = Words("""New York; Los Angeles; San Francisco; San Diego; Las Vegas; New Orleans; Hong Kong; Cape Town; Tel Aviv; Rio de Janeiro; Sao
Paulo; Kuala Lumpur; New Delhi; Buenos Aires; Mexico City; Salt Lake City; Santa Fe; The Hague; Abu Dhabi; Saint Petersburg""", ";")


def city(rng, held=False):
    """Mostly a real city, sometimes one of two words, sometimes a made-up one."""
    kind = rng.random()
    if kind < 0.65:
        return CITIES.pick(rng, held)
    return PLACES.pick(rng, held) if kind < 0.75 else made_up(rng, held).title()


def person(rng, held=False):
    """A first name, sometimes made up, sometimes with a surname."""
    kind = rng.random()
    name = NAMES.pick(rng, held) if kind < 0.75 else made_up(rng, held).title()
    return name + " " + made_up(rng, held).title() if kind > 0.9 else name


def item(rng, held=False):
    """A thing, sometimes with an adjective."""
    return (ADJECTIVES.pick(rng, held) + " " if rng.random() < 0.25 else "") + ITEMS.pick(rng, held)


def code(rng):
    """A random identifier: A7-42K, x9f3, 83KD2."""
    letters, digits = "ABCDEFGHJKLMNPQRSTUVWXYZ", "0123456789"
    pattern = rng.choice(("LD-DDL", "LLDDD", "DDLLD", "LL-DDDD", "DDDDD", "LDLDLD", "LLL-DD", "DDD-DDD"))
    text = "".join(rng.choice(letters) if c == "L" else rng.choice(digits) if c == "D" else c for c in pattern)
    return text.lower() if rng.random() < 0.25 else text


def email(rng, held=False):
    name = NAMES.pick(rng, held).lower()
    return f"{name}@{rng.choice(('example.com', 'example.org', 'mail.example', made_up(rng, held) + '.example'))}"


def path(rng, held=False):
    parts = [DIRS.pick(rng, held) for _ in range(rng.choice((0, 1, 1, 2)))]
    # A folder within one of its name: copying must not lose the place.
    if not held and parts and rng.random() < 0.15:
        parts.append(parts[0])
    name = FILES.pick(rng, held)
    if rng.random() < 0.4:
        name = made_up(rng, held) + "." + name.rsplit(".", 1)[1]
    return rng.choice(("", "", "/")) * bool(parts) + "/".join(parts + [name])


def date(rng):
    return f"{rng.choice((2025, 2026, 2027))}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def clock(rng):
    return f"{rng.randint(0, 23):02}:{rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50)):02}"
