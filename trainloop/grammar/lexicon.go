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
	{male, `boy boys      king kings      man men        father fathers  brother brothers  uncle uncles
		prince princes    son sons        monk monks     wizard wizards  waiter waiters    actor actors`},
	{female, `girl girls  queen queens    woman women    mother mothers  sister sisters    aunt aunts
		princess princesses  daughter daughters  nun nuns  witch witches  waitress waitresses  actress actresses`},
	{neutral, `doctor doctors  teacher teachers  farmer farmers  sailor sailors  pilot pilots  baker bakers
		friend friends    neighbor neighbors  guest guests  artist artists   student students  child children`},
	{animal, `dog dogs    cat cats        horse horses   fox foxes       goat goats
		rabbit rabbits    bear bears      duck ducks`},
	{thing, `cup cups     ball balls      book books     kite kites      drum drums        coin coins
		hat hats          lamp lamps      map maps       key keys        ring rings        letter letters
		basket baskets    box boxes       chair chairs   clock clocks    bell bells        cake cakes
		apple apples      egg eggs        orange oranges umbrella umbrellas  knife knives  candle candles
		mirror mirrors    blanket blankets  shell shells stone stones    flute flutes      rope ropes
		spoon spoons      bottle bottles  flower flowers feather feathers  doll dolls      coat coats
		ladder ladders    wagon wagons    toy toys       painting paintings`},
	{place, `house houses garden gardens  river rivers   bridge bridges  tree trees        barn barns
		tower towers      castle castles  market markets school schools  church churches   lake lakes
		hill hills        gate gates      cave caves     shop shops      mill mills        field fields`},
}

var singularNouns = []struct {
	class class
	rows  string
}{
	{maleName, `Tom Ben Jack Peter Paul Max Adam David Oscar Henry Simon Hugo`},
	{femaleName, `Mary Anna Lucy Emma Rosa Clara Alice Nina Sara Julia Laura Helen`},
	{idea, `secret story song riddle truth plan answer rule`},
}

// preposition is how one is at a place.
var preposition = func() map[string]string {
	at := map[string]string{}
	for p, places := range map[string]string{
		"in": `house garden barn tower castle market school church cave shop mill field`,
		"by": `river tree lake gate`,
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
		work works worked worked        swim swims swam swum           walk walks walked walked
		shout shouts shouted shouted    talk talks talked talked       rest rests rested rested`)
	// happen: intransitive, only things.
	happen = verbTable(`
		crack cracks cracked cracked    fade fades faded faded         rust rusts rusted rusted
		burn burns burned burned        shine shines shone shone       glow glows glowed glowed
		roll rolls rolled rolled        melt melts melted melted`)
	// treat: animate subject and object.
	treat = verbTable(`
		see sees saw seen               love loves loved loved         follow follows followed followed
		call calls called called        greet greets greeted greeted   thank thanks thanked thanked
		visit visits visited visited    hug hugs hugged hugged         meet meets met met`)
	// reflect: as treat, and used with reflexives.
	reflect = verbTable(`
		help helps helped helped        like likes liked liked         trust trusts trusted trusted
		praise praises praised praised  admire admires admired admired warn warns warned warned
		blame blames blamed blamed      hurt hurts hurt hurt           defend defends defended defended
		watch watches watched watched`)
	// handle: animate subject, a thing as object.
	handle = verbTable(`
		find finds found found          lose loses lost lost           buy buys bought bought
		drop drops dropped dropped      break breaks broke broken      carry carries carried carried
		hide hides hid hidden           paint paints painted painted   take takes took taken
		want wants wanted wanted        need needs needed needed       hold holds held held
		clean cleans cleaned cleaned    fix fixes fixed fixed          keep keeps kept kept
		steal steals stole stolen`)
	// give: somebody and a thing as objects.
	give = verbTable(`
		give gives gave given           show shows showed shown        send sends sent sent
		offer offers offered offered    lend lends lent lent           sell sells sold sold`)
	// know: an idea, a that-clause or an embedded question as object.
	know = verbTable(`
		know knows knew known           hear hears heard heard         learn learns learned learned
		notice notices noticed noticed  remember remembers remembered remembered
		forget forgets forgot forgotten discover discovers discovered discovered
		guess guesses guessed guessed   explain explains explained explained
		mention mentions mentioned mentioned`)
	// tell: a that-clause as object, nothing else.
	tell = verbTable(`
		say says said said              think thinks thought thought   believe believes believed believed
		claim claims claimed claimed    hope hopes hoped hoped`)

	social = append(append([]*verb{}, treat...), reflect...)
)

// Adjectives stand in the order of their rows: manner, age; size, state, colour.
var (
	manner = strings.Fields(`kind clever proud brave shy happy sad angry tired hungry`)
	age    = strings.Fields(`young old little`)
	size   = strings.Fields(`small big huge tiny`)
	state  = strings.Fields(`dirty strange pretty heavy lovely`)
	colour = strings.Fields(`red blue green golden white black`)
)

var lexicon = func() (all []*noun) {
	for _, t := range countNouns {
		w := strings.Fields(t.rows)
		for i := 0; i < len(w)*frac/100; i += 2 {
			all = append(all, &noun{[2]string{w[i], w[i+1]}, t.class})
		}
	}
	for _, t := range singularNouns {
		ws := strings.Fields(t.rows)
		for _, w := range ws[:len(ws)*frac/100] {
			all = append(all, &noun{[2]string{w, ""}, t.class})
		}
	}
	return all
}()

func verbTable(rows string) (all []*verb) {
	w := strings.Fields(rows)
	for i := 0; i < len(w)*vfrac/100; i += 4 {
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

var frac, vfrac = env("FRAC"), env("VFRAC")

var CAST, CASTT, ZIPF, PLAIN, REFL, MOD, LEN, TALEW = env("CAST"), env("CASTT"), env("ZIPF"), env("PLAIN"), env("REFL"), env("MOD"), env("LEN"), env("TALEW")
var EMPH, SING, OPEN, END, NAMED = env("EMPH"), env("SING"), env("OPEN"), env("END"), env("NAMED")
var OWN, TAIL, ADJ, PRO, PAST, TALE = env("OWN"), env("TAIL"), env("ADJ"), env("PRO"), env("PAST"), env("TALE")

func env(k string) int {
	n, err := strconv.Atoi(os.Getenv(k))
	if err != nil {
		return 100
	}
	return n
}
