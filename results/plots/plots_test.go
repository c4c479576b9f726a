package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"
)

func TestFront(t *testing.T) {
	points := []plotter.XY{{X: 3, Y: 5}, {X: 1, Y: 2}, {X: 2, Y: 2}, {X: 4, Y: 4}, {X: 1, Y: 1}, {X: 3, Y: 5}}
	if got, want := Front(points, true), []plotter.XY{{X: 1, Y: 2}, {X: 3, Y: 5}}; !slices.Equal(got, want) {
		t.Errorf("higher is better: %v, want %v", got, want)
	}
	if got, want := Front(points, false), []plotter.XY{{X: 1, Y: 1}}; !slices.Equal(got, want) {
		t.Errorf("lower is better: %v, want %v", got, want)
	}
}

func some(n int) (list []Series) {
	for i := range n {
		s := Series{Name: "variant_" + strings.Repeat("x", i%9) + string(rune('a'+i%26))}
		for step := range 900 {
			x := float64(step + 1)
			s.X, s.Y = append(s.X, x), append(s.Y, 2+float64(i)/20+5*math.Exp(-x/(80+10*float64(i))))
		}
		list = append(list, s)
	}
	return list
}

// Every picture is well-formed SVG that names every series, and PNG of the right shape.
func TestPictures(t *testing.T) {
	lines, err := Lines(Axis{Label: "tokens"}, Axis{Label: "loss"}, some(32))
	if err != nil {
		t.Fatal(err)
	}
	var scattered []Series
	for i, s := range some(8) {
		scattered = append(scattered, Series{s.Name, []float64{1e6 * float64(i+1)}, []float64{math.Abs(float64(i) - 3.5)}})
	}
	points, err := Points(Axis{Label: "FLOPs", Log: true}, Axis{Label: "loss"}, false, scattered)
	if err != nil {
		t.Fatal(err)
	}
	tiles := Map([]string{"anaphor agreement", "wh island"}, []string{"baseline", "very_wide_cycle"}, func(r, c int) float64 {
		if r == 1 && c == 0 {
			return math.NaN()
		}
		return float64(1+2*r+c) / 4
	})
	for name, c := range map[string]struct {
		p    *Picture
		want []string
	}{
		"lines":  {lines, []string{"variant_a<", "tokens", "loss", "stroke-dasharray"}},
		"points": {points, []string{">1  variant_a<", ">8  variant_xxxxxxxh<", ">8<", "Pareto front", "FLOPs", "5M"}},
		"map":    {tiles, []string{"wh island", "very_wide_cycle", ">25<", ">50<", ">100<"}},
	} {
		t.Run(name, func(t *testing.T) {
			var svg, raster bytes.Buffer
			if err := c.p.SVG(&svg); err != nil {
				t.Fatal(err)
			}
			if err := c.p.PNG(&raster); err != nil {
				t.Fatal(err)
			}
			if dir := os.Getenv("MARCH_PICTURES"); dir != "" { // to look at them
				os.WriteFile(filepath.Join(dir, name+".svg"), svg.Bytes(), 0o666)
				os.WriteFile(filepath.Join(dir, name+".png"), raster.Bytes(), 0o666)
			}
			decoder := xml.NewDecoder(bytes.NewReader(svg.Bytes()))
			for {
				if _, err := decoder.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range c.want {
				if !strings.Contains(svg.String(), want) {
					t.Errorf("no %q in the SVG", want)
				}
			}
			if strings.Contains(svg.String(), ">75<") && name == "map" {
				t.Error("a tile without a figure has one")
			}
			if svg.Len() > 400_000 {
				t.Errorf("%d bytes of SVG", svg.Len())
			}
			image, err := png.Decode(&raster)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := float64(image.Bounds().Dx())/float64(image.Bounds().Dy()), float64(c.p.width/c.p.height); math.Abs(got/want-1) > 0.02 {
				t.Errorf("PNG of shape %.2f, want %.2f", got, want)
			}
		})
	}
}

// Series differ without colour: no two of 56 have the same dashes and the same shape.
func TestPens(t *testing.T) {
	type look struct{ dash, glyph int }
	seen := map[look]int{}
	for n := range 56 {
		l := look{n % len(dashes), n % len(glyphs)}
		if other, ok := seen[l]; ok {
			t.Errorf("series %d and %d look alike in black and white", other, n)
		}
		seen[l] = n
	}
}

// What is not finite is not drawn, and nothing at all is no error.
func TestNothingToDraw(t *testing.T) {
	bad := []Series{{"a", []float64{1, math.NaN(), 3}, []float64{math.Inf(1), 2, math.NaN()}}, {"b", nil, nil}}
	for _, draw := range []func() (*Picture, error){
		func() (*Picture, error) { return Lines(Axis{}, Axis{}, bad) },
		func() (*Picture, error) { return Points(Axis{Log: true}, Axis{}, true, bad) },
		func() (*Picture, error) {
			return Points(Axis{Log: true}, Axis{}, true, []Series{{"one", []float64{5}, []float64{7}}})
		},
	} {
		p, err := draw()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SVG(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		x, span float64
		want    string
	}{{0, 10, "0"}, {500_000, 1e6, "500k"}, {2.5e6, 4e6, "2.5M"}, {2.05, 0.1, "2.05"}, {900, 1000, "900"}, {1500, 2000, "1500"}, {8.784e5, 2000, "878.4k"}} {
		if got := short(c.x, c.span); got != c.want {
			t.Errorf("%v in %v: %q, want %q", c.x, c.span, got, c.want)
		}
	}
}
