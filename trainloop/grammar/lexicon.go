package grammar

import (
	"os"
	"strconv"
	"strings"
)

// The lexicon. A form stands in one row only (bar a verb's own equal forms), so
// features can be read off a word; and every form is frequent enough in the
// default corpus to be one token of a byte-level BPE of 2,048 tokens.

type number int

const (
	singular number = iota
	plural
)

// class is what a noun may be used as; a pool is a union of classes.
type class uint

const (
	male class = 1 << iota
	female
	neutral // people whose gender the noun leaves open
	animal
	thing
	idea // what is known, heard or forgotten
	place
	maleName
	femaleName

	name    = maleName | femaleName
	person  = male | female | neutral
	animate = person | animal // animals talk in these stories
	visible = animate | thing // what stands near, behind or beside something
)

// noun has its forms by number; names and ideas have no plural.
type noun struct {
	form  [2]string
	class class
}

func (n *noun) is(c class) bool { return n.class&c != 0 }

// Columns: singular, plural.
var countNouns = []struct {
	class class
	rows  string
}{
	{male, `king kings      boy boys    man men      brother brothers  prince princes
		father fathers      uncle uncles  monk monks  wizard wizards    waiter waiters`},
	{female, `queen queens  girl girls  woman women  sister sisters    princess princesses
		mother mothers      aunt aunts  nun nuns     witch witches      waitress waitresses`},
	{neutral, `sailor sailors  baker bakers  farmer farmers  teacher teachers  doctor doctors
		pilot pilots    miner miners    hunter hunters    miller millers    guard guards
		tailor tailors  gardener gardeners  drummer drummers  singer singers`},
	{animal, `dog dogs      cat cats    horse horses  fox foxes`},
	{thing, `boat boats     cake cakes  wagon wagons  book books  bottle bottles
		map maps        lamp lamps      knife knives      basket baskets    key keys
		coat coats      flower flowers  drum drums        bell bells
		cup cups        ball balls      kite kites        hat hats          ring rings
		letter letters  box boxes       chair chairs      egg eggs          apple apples`},
	{place, `lake lakes     shop shops  barn barns    school schools  house houses
		tower towers    cave caves      forest forests    mill mills        castle castles
		market markets  garden gardens  field fields      church churches
		river rivers    bridge bridges  hill hills        gate gates`},
}

var singularNouns = []struct {
	class class
	rows  string
}{
	{maleName, `Tom Ben Jack Peter Paul Max Adam David Oscar Henry`},
	{femaleName, `Mary Anna Lucy Emma Rosa Clara Alice Nina Sara Julia`},
	{idea, `secret story song riddle truth plan`},
}

// preposition is how one is at a place.
var preposition = func() map[string]string {
	at := map[string]string{}
	for p, places := range map[string]string{
		"in": `house garden barn tower castle market school church cave shop mill field forest`,
		"by": `river lake gate`,
		"on": `bridge hill`,
	} {
		for _, w := range strings.Fields(places) {
			at[w] = p
		}
	}
	return at
}()

// verb has the forms that the stories use.
type verb struct{ base, third, past, participle string }

// present is the form of the present tense that agrees with the number.
func (v *verb) present(n number) string {
	if n == singular {
		return v.third
	}
	return v.base
}

// Columns: base, third person, past, past participle.
var (
	// act: intransitive, animate subject.
	act = verbTable(`
		sleep sleeps slept slept        laugh laughs laughed laughed   cry cries cried cried
		smile smiles smiled smiled      dance dances danced danced     sing sings sang sung
		run runs ran run                jump jumps jumped jumped       wait waits waited waited
		swim swims swam swum            walk walks walked walked       rest rests rested rested`)
	// happen: intransitive, only things.
	happen = verbTable(`
		crack cracks cracked cracked    fade fades faded faded         rust rusts rusted rusted
		burn burns burned burned        shine shines shone shone       roll rolls rolled rolled`)
	// treat: animate subject and object.
	treat = verbTable(`
		see sees saw seen               love loves loved loved         follow follows followed followed
		call calls called called        greet greets greeted greeted   thank thanks thanked thanked
		visit visits visited visited`)
	// reflect: as treat, and used with reflexives.
	reflect = verbTable(`
		help helps helped helped        like likes liked liked         trust trusts trusted trusted
		praise praises praised praised  admire admires admired admired warn warns warned warned
		blame blames blamed blamed      hurt hurts hurt hurt`)
	// handle: animate subject, a thing as object.
	handle = verbTable(`
		find finds found found          lose loses lost lost           buy buys bought bought
		drop drops dropped dropped      break breaks broke broken      carry carries carried carried
		hide hides hid hidden           paint paints painted painted   take takes took taken
		want wants wanted wanted        need needs needed needed       hold holds held held
		clean cleans cleaned cleaned    fix fixes fixed fixed`)
	// give: somebody and a thing as objects.
	give = verbTable(`
		give gives gave given           show shows showed shown        send sends sent sent
		offer offers offered offered    lend lends lent lent`)
	// know: an idea, a that-clause or an embedded question as object.
	know = verbTable(`
		know knows knew known           hear hears heard heard         learn learns learned learned
		notice notices noticed noticed  remember remembers remembered remembered
		forget forgets forgot forgotten discover discovers discovered discovered
		guess guesses guessed guessed`)
	// tell: a that-clause as object, nothing else.
	tell = verbTable(`
		say says said said              think thinks thought thought   believe believes believed believed
		claim claims claimed claimed`)

	social = append(append([]*verb{}, treat...), reflect...)
)

// Adjectives stand in the order of their rows: manner, age; size, state, colour.
var (
	manner = strings.Fields(`kind clever proud brave happy sad angry tired`)
	age    = strings.Fields(`young old little`)
	size   = strings.Fields(`small big huge tiny`)
	state  = strings.Fields(`dirty strange pretty heavy`)
	colour = strings.Fields(`red blue green golden white black`)
)

var lexicon = func() (all []*noun) {
	for _, t := range countNouns {
		w := strings.Fields(t.rows)
		for i := 0; i < len(w); i += 2 {
			all = append(all, &noun{[2]string{w[i], w[i+1]}, t.class})
		}
	}
	for _, t := range singularNouns {
		ws := strings.Fields(t.rows)
		for _, w := range ws {
			all = append(all, &noun{[2]string{w, ""}, t.class})
		}
	}
	return all
}()

func verbTable(rows string) (all []*verb) {
	w := strings.Fields(rows)
	for i := 0; i < len(w); i += 4 {
		all = append(all, &verb{w[i], w[i+1], w[i+2], w[i+3]})
	}
	return all
}

// pool is a class with its nouns, ready to draw from.
type pool struct {
	class class
	nouns []*noun
}

func newPool(c class) pool {
	p := pool{class: c}
	for _, n := range lexicon {
		if n.is(c) {
			p.nouns = append(p.nouns, n)
		}
	}
	return p
}

var (
	people   = newPool(person)
	gendered = [2]pool{newPool(male), newPool(female)}
	named    = [2]pool{newPool(maleName), newPool(femaleName)}
	anyName  = newPool(name)
	anyone   = newPool(animate)
	somebody = newPool(animate | name)
	things   = newPool(thing)
	ideas    = newPool(idea)
	places   = newPool(place)
	nearby   = newPool(visible | place)
)

var CAST, CASTT, ZIPF, PLAIN, REFL, MOD, LEN, TALEW = env("CAST"), env("CASTT"), env("ZIPF"), env("PLAIN"), env("REFL"), env("MOD"), env("LEN"), env("TALEW")
var TOPIC, GEN, KIN, POOL = env("TOPIC"), env("GEN"), env("KIN"), env("POOL")
var EMPH, SING, OPEN, END, NAMED = env("EMPH"), env("SING"), env("OPEN"), env("END"), env("NAMED")
var OWN, TAIL, ADJ, PRO, PAST, TALE = env("OWN"), env("TAIL"), env("ADJ"), env("PRO"), env("PAST"), env("TALE")

func env(k string) int {
	n, err := strconv.Atoi(os.Getenv(k))
	if err != nil {
		return 100
	}
	return n
}
