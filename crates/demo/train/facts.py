"""The closed set of facts and the small talk."""

CAPITALS = """France Paris; Germany Berlin; Italy Rome; Spain Madrid; Portugal Lisbon; Norway Oslo; Sweden Stockholm; Finland Helsinki;
Denmark Copenhagen; Iceland Reykjavik; Ireland Dublin; Poland Warsaw; Austria Vienna; Hungary Budapest; Greece Athens; Turkey Ankara;
Russia Moscow; Ukraine Kyiv; Romania Bucharest; Bulgaria Sofia; Serbia Belgrade; Croatia Zagreb; Belgium Brussels; Switzerland Bern;
Czechia Prague; Slovakia Bratislava; Slovenia Ljubljana; Latvia Riga; Lithuania Vilnius; Estonia Tallinn; Egypt Cairo; Morocco Rabat;
Tunisia Tunis; Algeria Algiers; Kenya Nairobi; Ghana Accra; Senegal Dakar; Ethiopia Addis Ababa; Uganda Kampala; Zambia Lusaka;
Japan Tokyo; China Beijing; India New Delhi; Thailand Bangkok; Vietnam Hanoi; Indonesia Jakarta; Mongolia Ulaanbaatar; Nepal Kathmandu;
Iran Tehran; Iraq Baghdad; Jordan Amman; Lebanon Beirut; Qatar Doha; Oman Muscat; Canada Ottawa; Mexico Mexico City; Cuba Havana;
Brazil Brasilia; Argentina Buenos Aires; Chile Santiago; Peru Lima; Ecuador Quito; Colombia Bogota; Uruguay Montevideo;
Australia Canberra; Fiji Suva; Samoa Apia; Malta Valletta; Cyprus Nicosia; England London; Scotland Edinburgh; Wales Cardiff"""

SYMBOLS = """hydrogen H; helium He; lithium Li; carbon C; nitrogen N; oxygen O; fluorine F; neon Ne; sodium Na; magnesium Mg;
aluminium Al; silicon Si; phosphorus P; sulfur S; chlorine Cl; argon Ar; potassium K; calcium Ca; titanium Ti; iron Fe; cobalt Co;
nickel Ni; copper Cu; zinc Zn; silver Ag; tin Sn; iodine I; tungsten W; platinum Pt; gold Au; mercury Hg; lead Pb; uranium U"""

OPPOSITES = """hot cold; big small; fast slow; light dark; up down; left right; open closed; early late; young old; happy sad; rich poor;
full empty; hard soft; high low; long short; near far; new old; wet dry; strong weak; thick thin; true false; wide narrow; clean dirty;
loud quiet; cheap expensive; sweet sour; first last; inside outside; front back; day night; summer winter; north south; east west;
begin end; win lose; push pull; buy sell; love hate; yes no; push pull; black white; brave afraid; deep shallow; rough smooth"""

PLURALS = """mouse mice; child children; foot feet; tooth teeth; man men; woman women; goose geese; leaf leaves; knife knives; wolf wolves;
city cities; box boxes; fish fish; sheep sheep; ox oxen; person people; baby babies; bus buses; half halves; life lives; story stories;
potato potatoes; hero heroes; shelf shelves; cherry cherries; watch watches"""

COLORS = """the sky blue; grass green; snow white; blood red; coal black; a lemon yellow; an orange orange; a banana yellow; milk white;
chocolate brown; a tomato red; the Sun yellow; an elephant gray; a carrot orange; spinach green; a plum purple"""

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()

OTHER = [
    ("what is a perigee|what does perigee mean|explain perigee|what is the perigee of the Moon",
     "A perigee is the point of an orbit around the Earth that is closest to the Earth."),
    ("what is an apogee|what does apogee mean|explain apogee", "An apogee is the point of an orbit around the Earth that is farthest from the Earth."),
    ("how far is the Moon|how far away is the Moon|what is the distance to the Moon", "The Moon is about 384 thousand km away."),
    ("what is the Moon|tell me about the Moon", "The Moon is the only natural satellite of the Earth."),
    ("what is the Sun|tell me about the Sun", "The Sun is the star at the center of our system."),
    ("how many planets are there|how many planets does our system have", "There are eight planets."),
    ("which planet is the largest|what is the largest planet|what is the biggest planet", "Jupiter is the largest planet."),
    ("which planet is the smallest|what is the smallest planet", "Mercury is the smallest planet."),
    ("which planet is the hottest|what is the hottest planet", "Venus is the hottest planet."),
    ("which planet is red|what is the red planet called", "Mars is the red planet."),
    ("which planet has rings|what planet has large rings", "Saturn has large rings."),
    ("how many moons does Mars have", "Mars has two moons."),
    ("how many moons does the Earth have", "The Earth has one moon."),
    ("how long does the Moon take around the Earth|how long is a lunar month", "The Moon takes about 27 days around the Earth."),
    ("how long does the Earth take around the Sun|how long is a year", "The Earth takes 365 days around the Sun."),
    ("who was the first person on the Moon|who walked first on the Moon", "Neil Armstrong was the first person on the Moon."),
    ("when did people first land on the Moon|when was the first Moon landing", "People first landed on the Moon in 1969."),
    ("what is an orbit|explain orbit", "An orbit is the path of a body around another one."),
    ("what is an eclipse|explain eclipse", "In an eclipse one body hides another one or its light."),
    ("what is a star", "A star is a hot ball of gas that shines."),
    ("what is a comet", "A comet is a ball of ice and dust with a tail."),
    ("how many days does a week have|how many days are in a week", "A week has seven days."),
    ("how many months does a year have|how many months are in a year", "A year has twelve months."),
    ("how many hours does a day have|how many hours are in a day", "A day has 24 hours."),
    ("how many minutes does an hour have|how many minutes are in an hour", "An hour has 60 minutes."),
    ("how many seconds does a minute have|how many seconds are in a minute", "A minute has 60 seconds."),
    ("how many legs does a spider have", "A spider has eight legs."),
    ("how many legs does an ant have", "An ant has six legs."),
    ("how many legs does a dog have", "A dog has four legs."),
    ("at what temperature does water freeze|when does water freeze", "Water freezes at 0 degrees Celsius."),
    ("at what temperature does water boil|when does water boil", "Water boils at 100 degrees Celsius."),
    ("what is water made of", "Water is made of hydrogen and oxygen."),
    ("what is the largest ocean|which ocean is the largest", "The Pacific is the largest ocean."),
    ("what is the highest mountain|which mountain is the highest", "Mount Everest is the highest mountain."),
    ("what is the longest river|which river is the longest", "The Nile is the longest river."),
    ("who wrote Hamlet", "William Shakespeare wrote Hamlet."),
    ("who painted the Mona Lisa", "Leonardo da Vinci painted the Mona Lisa."),
    ("what do bees make", "Bees make honey."),
    ("what do cows give", "Cows give milk."),
    ("how many letters does the English alphabet have", "The English alphabet has 26 letters."),
    ("what is GGUF|what is a GGUF file", "GGUF is a file format for the weights of language models."),
    ("what is a token", "A token is a piece of text that a language model reads or writes."),
    ("what is a mixture of experts", "It is a network in which each token uses only a few of many experts."),
    ("what is a language model", "A language model predicts the next token of a text."),
]

SMALLTALK = [
    ("hello|hi|hey|hello there|hi there|good day|greetings|hey there|hallo", "Hello! How can I help you?"),
    ("good morning|morning", "Good morning! How can I help you?"),
    ("good evening|good afternoon", "Good evening! How can I help you?"),
    ("how are you|how are you doing|how is it going|how do you do|are you well", "I am fine, thank you. How can I help you?"),
    ("thanks|thank you|thanks a lot|many thanks|thank you very much|great, thanks|thanks for your help|perfect, thank you",
     "You are welcome!"),
    ("bye|goodbye|see you|see you later|good night|that is all|bye bye", "Goodbye!"),
    ("who are you|what are you|introduce yourself|tell me about yourself|what is this|what model are you|which model is this",
     "I am a demonstration model of Perigee, not Kimi. I am tiny, but I can call tools."),
    ("are you Kimi|is this Kimi|am I talking to Kimi|you are Kimi, right", "No. I am a demonstration model of Perigee, not Kimi."),
    ("what can you do|how can you help me|what are you good at|help|what do you know|can you help me",
     "I can call tools, do small sums and answer simple questions."),
    ("what is Perigee|tell me about Perigee|what does Perigee do", "Perigee is a server that runs Kimi-K2 models. I am its demonstration model."),
    ("who made you|who trained you|who built you|where do you come from", "I was trained for Perigee on made-up conversations."),
    ("how big are you|how large are you|how many parameters do you have|are you a large model",
     "I am tiny: about twenty million parameters."),
    ("what is your name|do you have a name|how are you called", "I am the demonstration model of Perigee."),
    ("are you human|are you a person|are you a robot|are you real", "No, I am a small language model."),
    ("can you speak German|which languages do you speak|do you speak French|what languages do you know", "I only speak English."),
    ("tell me a joke|make me laugh|do you know a joke", "Why did the Moon skip dinner? It was already full."),
    ("tell me a story|can you tell me a story", "A small satellite circled the Earth. At every perigee it waved at home."),
    ("you are great|well done|good job|nice|that was helpful|cool|awesome", "Thank you! What else can I do for you?"),
    ("you are wrong|that is wrong|this is not right|that was bad", "I am sorry. I am only a tiny model."),
    ("how old are you|when were you born", "I do not know my age."),
    ("what is the meaning of life", "I do not know. I am only a tiny model."),
    ("do you like music|do you have a hobby|what do you like", "I like orbits."),
    ("test|testing|is this on|are you there|ping", "I am here. How can I help you?"),
    ("ok|okay|alright|fine|I see", "What else can I do for you?"),
]


def _pairs(text):
    return [(item.strip().split(" ", 1)) for item in text.replace("\n", " ").split(";") if item.strip()]


def _colors(text):
    return [item.strip().rsplit(" ", 1) for item in text.replace("\n", " ").split(";") if item.strip()]


def _upper(text):
    return text[0].upper() + text[1:]


def all_facts():
    """List of (questions, answer); questions without capital and question mark."""
    facts = []
    for country, city in _pairs(CAPITALS):
        facts.append(([f"what is the capital of {country}", f"which city is the capital of {country}", f"capital of {country}",
                       f"what's the capital of {country}", f"name the capital of {country}", f"tell me the capital of {country}"],
                      f"The capital of {country} is {city}."))
    for element, symbol in _pairs(SYMBOLS):
        facts.append(([f"what is the chemical symbol of {element}", f"what is the symbol for {element}", f"symbol of {element}",
                       f"which symbol does {element} have", f"chemical symbol for {element}"], f"The symbol of {element} is {symbol}."))
    for word, other in _pairs(OPPOSITES):
        facts.append(([f"what is the opposite of {word}", f"opposite of {word}", f"what's the opposite of {word}", f"tell me the opposite of {word}"],
                      f"The opposite of {word} is {other}."))
    for word, plural in _pairs(PLURALS):
        facts.append(([f"what is the plural of {word}", f"plural of {word}", f"what's the plural of {word}", f"tell me the plural of {word}"],
                      f"The plural of {word} is {plural}."))
    for thing, color in _colors(COLORS):
        facts.append(([f"what color is {thing}", f"which color is {thing}", f"what is the color of {thing}"], f"{_upper(thing)} is {color}."))
    for i, day in enumerate(DAYS):
        after, before = DAYS[(i + 1) % 7], DAYS[i - 1]
        facts.append(([f"what day comes after {day}", f"which day is after {day}", f"what is the day after {day}"], f"{after} comes after {day}."))
        facts.append(([f"what day comes before {day}", f"which day is before {day}", f"what is the day before {day}"], f"{before} comes before {day}."))
    for i, month in enumerate(MONTHS):
        facts.append(([f"what month comes after {month}", f"which month is after {month}"], f"{MONTHS[(i + 1) % 12]} comes after {month}."))
        facts.append(([f"what month comes before {month}", f"which month is before {month}"], f"{MONTHS[i - 1]} comes before {month}."))
        facts.append(([f"how many days does {month} have", f"how many days are in {month}", f"how long is {month}"], f"{month} has {MONTH_DAYS[i]} days."))
        facts.append(([f"what is the {ORDINALS[i]} month", f"which month is the {ORDINALS[i]}"], f"The {ORDINALS[i]} month is {month}."))
    for i, planet in enumerate(PLANETS):
        facts.append(([f"which is the {ORDINALS[i]} planet", f"what is the {ORDINALS[i]} planet from the Sun", f"name the {ORDINALS[i]} planet"],
                      f"The {ORDINALS[i]} planet is {planet}."))
    facts += [(questions.split("|"), answer) for questions, answer in OTHER]
    return facts


FACTS = all_facts()
TALK = [(questions.split("|"), answer) for questions, answer in SMALLTALK]


def ask(rng, question, mark="?"):
    """A question as people type it."""
    if rng.random() < 0.75:
        question = _upper(question)
    imperative = question.lower().startswith(("tell", "name", "explain", "introduce"))
    end = "." if imperative else mark
    return question + (end if rng.random() < 0.8 else "")


def fact(rng):
    questions, answer = rng.choice(FACTS)
    return ask(rng, rng.choice(questions)), answer


def talk(rng):
    questions, answer = rng.choice(TALK)
    question = rng.choice(questions)
    asks = question.split()[0].lower() in ("how", "who", "what", "are", "is", "can", "which", "do", "am", "when", "where")
    mark = "?" if asks else rng.choice("!.")
    return ask(rng, question, mark), answer
