package results

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// kind says how a column's numbers are printed.
type kind int

const (
	text       kind = iota
	integer         // 900, 1,200
	count           // 877k, 2.31M
	share           // 0 to 1, printed as 71.0 %
	loss            // 2.051
	spread          // 0.0312: three digits
	perplexity      // 8.13, 38.1, 1,374
	seconds         // 3.4, 35.5, 926
	rate            // 13.0k
	percent         // 0 to 1, printed as 71.02
	printed         // a figure whose cell brings its own text
)

// absent stands for what was not run or is not known.
const absent = "–"

// digits returns how many decimals a number of that kind gets; the deviation gets those of its mean.
func (k kind) digits(x float64) int {
	switch a := math.Abs(x); k {
	case share:
		return 1
	case percent:
		return 2
	case loss:
		return 3
	case spread:
		if a == 0 {
			return 3
		}
		return min(max(2-int(math.Floor(math.Log10(a))), 0), 6)
	case perplexity:
		switch {
		case a < 9.995:
			return 2
		case a < 99.95:
			return 1
		}
	case seconds:
		if a < 99.95 {
			return 1
		}
	}
	return 0
}

// format prints a mean.
func (k kind) format(x float64) string {
	switch {
	case math.IsNaN(x):
		return "nan"
	case math.IsInf(x, 1):
		return "inf"
	case k == count || k == rate || math.Abs(x) >= 1e6:
		return metric(x)
	case k == share:
		return k.number(x, x) + " %"
	default:
		return k.number(x, x)
	}
}

// formatSD prints mean ± sd.
func (k kind) formatSD(mean, sd float64) string {
	switch {
	case k == count || k == rate || k == seconds || k == integer:
		return k.format(mean) // costs are given as means; their spread says nothing of the variant
	case math.IsInf(mean, 0) || math.IsNaN(mean) || math.Abs(mean) >= 1e6:
		return k.format(mean)
	case k == share:
		return k.number(mean, mean) + " ± " + k.number(sd, mean) + " %"
	default:
		return k.number(mean, mean) + " ± " + k.number(sd, mean)
	}
}

// number prints x with the decimals that like would get.
func (k kind) number(x, like float64) string {
	if k == share || k == percent {
		x *= 100
	}
	return thousands(strconv.FormatFloat(x, 'f', k.digits(like), 64))
}

// metric prints three significant digits and a metric prefix: 877k, 2.31M, 13.0k. Whole numbers
// below a thousand are printed as they are.
func metric(x float64) string {
	a := math.Abs(x)
	if a < 1000 && x == math.Trunc(x) {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	scaled, prefix := x, ""
	for _, p := range []string{"k", "M", "G", "T", "P", "E"} {
		if math.Abs(scaled) < 999.5 {
			break
		}
		scaled, prefix = scaled/1000, p
	}
	if math.Abs(scaled) >= 999.5 {
		return strconv.FormatFloat(x, 'e', 2, 64)
	}
	digits := 2
	switch s := math.Abs(scaled); {
	case s >= 99.95:
		digits = 0
	case s >= 9.995:
		digits = 1
	}
	return strconv.FormatFloat(scaled, 'f', digits, 64) + prefix
}

// thousands puts commas into a decimal number's whole part.
func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, rest, dot := strings.Cut(s, ".")
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	if dot {
		whole += "." + rest
	}
	return sign + whole
}

func grouped(n int64) string { return thousands(strconv.FormatInt(n, 10)) }

// short is a checksum as a footer shows it.
func short(sha256 string) string {
	if len(sha256) > 8 {
		return sha256[:8]
	}
	return sha256
}

// clean makes a text fit for one line of a table or footer: reasons may come from anywhere.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(s), " ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", grouped(int64(n)), many)
}
