// Package plots draws the pictures of a comparison: lines, points with their Pareto front, and maps of
// shares, as SVG and PNG, so that they can be told apart in black and white: series differ in dashes and
// in the shapes of their points before they differ in colour. It knows numbers and names only, neither
// runs nor records. Start with Lines, Points or Map, then Picture.SVG or Picture.PNG.
package plots

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Picture is a drawing that can be written as often as is wanted.
type Picture struct {
	plot          *plot.Plot
	width, height vg.Length
	names         vg.Length    // width of the legend's widest
	legend        *plot.Legend // beside the plot, not in it; nil: none
}

// Axis is one side of a picture.
type Axis struct {
	Label string
	Log   bool
}

// Series is one line, or one point.
type Series struct {
	Name string
	X, Y []float64
}

// pen is how the nth series looks. Dashes and shapes repeat after coprime numbers of series, so that
// 56 series differ without colour.
type pen struct {
	line  draw.LineStyle
	glyph draw.GlyphStyle
}

var (
	// Paul Tol's scheme "bright", without grey, darkened where it would be faint on white.
	colours = []color.Color{
		color.RGBA{0x44, 0x77, 0xaa, 0xff}, color.RGBA{0xcc, 0x44, 0x55, 0xff}, color.RGBA{0x1a, 0x77, 0x33, 0xff},
		color.RGBA{0x99, 0x77, 0x10, 0xff}, color.RGBA{0x22, 0x88, 0xaa, 0xff}, color.RGBA{0xaa, 0x33, 0x77, 0xff}, color.RGBA{0x22, 0x22, 0x22, 0xff},
	}
	dashes = [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 2, 2, 2}, {1, 3}, {10, 4}, {4, 2, 1, 2, 1, 2}}
	glyphs = []draw.GlyphDrawer{
		draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.PlusGlyph{},
	}
)

func penOf(n int) pen {
	c := colours[n%len(colours)]
	return pen{
		draw.LineStyle{Color: c, Width: vg.Points(1.2), Dashes: dashes[n%len(dashes)]},
		draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: glyphs[n%len(glyphs)]},
	}
}

func newPicture(x, y Axis, entries int) *Picture {
	p := plot.New()
	p.Title.Padding = 0
	for axis, a := range map[*plot.Axis]Axis{&p.X: x, &p.Y: y} {
		axis.Label.Text = a.Label
		axis.Label.TextStyle.Font = sans(11)
		axis.Tick.Label.Font = sans(9)
		axis.Padding = vg.Points(4)
		if a.Log {
			axis.Scale, axis.Tick.Marker = plot.LogScale{}, logTicks{}
		} else {
			axis.Tick.Marker = ticks{}
		}
	}
	legend := plot.NewLegend()
	legend.TextStyle.Font = sans(9)
	legend.ThumbnailWidth = vg.Points(34)
	legend.Padding = vg.Points(2)
	legend.Top, legend.Left = true, true
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xdd}, color.Gray{0xdd}
	p.Add(grid)
	return &Picture{plot: p, width: vg.Points(720), height: max(vg.Points(360), vg.Length(entries)*vg.Points(13)+vg.Points(40)), legend: &legend}
}

func sans(size float64) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
}

// entry adds a name to the legend.
func (p *Picture) entry(name string, looks ...plot.Thumbnailer) {
	p.legend.Add(name, looks...)
	p.names = max(p.names, widest([]string{name}, 9))
}

// spare is how much wider than Liberation Sans the font may be that a reader of SVG has in its place.
const spare = 1.2

// mostPoints of a line are drawn; more would only make the file large.
const mostPoints = 200

// Lines draws curves. Each has a few points of its shape on it. Points that are not finite are left
// out; so is a series without any.
func Lines(x, y Axis, series []Series) (*Picture, error) {
	p, drawn := newPicture(x, y, len(series)), 0
	for n, s := range series {
		points := s.points(x, y)
		if len(points) == 0 {
			continue
		}
		if step := (len(points) + mostPoints - 1) / mostPoints; step > 1 {
			var thin plotter.XYs
			for i := 0; i < len(points); i += step {
				thin = append(thin, points[i])
			}
			if last := points[len(points)-1]; thin[len(thin)-1] != last {
				thin = append(thin, last)
			}
			points = thin
		}
		style := penOf(n)
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, fmt.Errorf("line %s: %w", s.Name, err)
		}
		line.LineStyle = style.line
		var few plotter.XYs
		for i := n % 3; i < len(points); i += max(len(points)/6, 1) {
			few = append(few, points[i])
		}
		marks, err := plotter.NewScatter(few)
		if err != nil {
			return nil, fmt.Errorf("line %s: %w", s.Name, err)
		}
		marks.GlyphStyle = style.glyph
		p.plot.Add(line, marks)
		p.entry(s.Name, line, marks)
		drawn++
	}
	if drawn == 0 {
		margin(p.plot, nil, x, y)
	}
	return p, nil
}

// points are those that can be drawn.
func (s Series) points(x, y Axis) (list plotter.XYs) {
	for i := range s.X {
		fine := func(v float64, a Axis) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) && (!a.Log || v > 0) }
		if fine(s.X[i], x) && fine(s.Y[i], y) {
			list = append(list, plotter.XY{X: s.X[i], Y: s.Y[i]})
		}
	}
	return list
}

// Points draws one point of each series (its first), with its number, and a step line through those that no other beats
// in both: none has less x and a better y. higher says which y is better.
func Points(x, y Axis, higher bool, series []Series) (*Picture, error) {
	p := newPicture(x, y, len(series)+1)
	var all []plotter.XY
	for n, s := range series {
		points := s.points(x, y)
		if len(points) == 0 {
			continue
		}
		all = append(all, points[0])
		mark, err := plotter.NewScatter(points[:1])
		if err != nil {
			return nil, fmt.Errorf("point %s: %w", s.Name, err)
		}
		mark.GlyphStyle = penOf(n).glyph
		mark.Radius = vg.Points(4.5)
		// Shapes are few: the number says which it is without colour.
		number, err := plotter.NewLabels(plotter.XYLabels{XYs: points[:1], Labels: []string{strconv.Itoa(n + 1)}})
		if err != nil {
			return nil, fmt.Errorf("point %s: %w", s.Name, err)
		}
		number.TextStyle[0].Font = sans(8)
		number.Offset = vg.Point{X: vg.Points(6), Y: vg.Points(-3)}
		p.plot.Add(mark, number)
		p.entry(fmt.Sprintf("%d  %s", n+1, s.Name), mark)
	}
	if front := Front(all, higher); len(front) > 0 {
		line, err := plotter.NewLine(plotter.XYs(front))
		if err != nil {
			return nil, err
		}
		line.StepStyle = plotter.PostStep
		line.LineStyle = draw.LineStyle{Color: color.Gray{0x77}, Width: vg.Points(1), Dashes: []vg.Length{4, 2}}
		p.plot.Add(line)
		p.entry("Pareto front", line)
	}
	margin(p.plot, all, x, y)
	return p, nil
}

// margin keeps points off the frame, and an axis of equal values open.
func margin(p *plot.Plot, all []plotter.XY, x, y Axis) {
	for _, side := range []struct {
		axis *plot.Axis
		log  bool
		of   func(plotter.XY) float64
	}{{&p.X, x.Log, func(v plotter.XY) float64 { return v.X }}, {&p.Y, y.Log, func(v plotter.XY) float64 { return v.Y }}} {
		if len(all) == 0 {
			side.axis.Min, side.axis.Max = 1, 10
			continue
		}
		low, high := side.of(all[0]), side.of(all[0])
		for _, v := range all {
			low, high = min(low, side.of(v)), max(high, side.of(v))
		}
		if side.log {
			by := max(math.Pow(high/low, 0.05), 1.02)
			side.axis.Min, side.axis.Max = low/by, high*by
			continue
		}
		by := 0.05 * (high - low)
		if by == 0 {
			by = max(math.Abs(high)*0.01, 1e-3)
		}
		side.axis.Min, side.axis.Max = low-by, high+by
	}
}

// Front are the points that no other beats in both, by rising x. Of equal points one is kept.
func Front(points []plotter.XY, higher bool) (front []plotter.XY) {
	better := func(a, b float64) bool { return a != b && (a > b) == higher }
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b plotter.XY) int {
		switch {
		case a.X < b.X || a.X == b.X && better(a.Y, b.Y):
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	for _, p := range sorted {
		if len(front) == 0 || better(p.Y, front[len(front)-1].Y) {
			front = append(front, p)
		}
	}
	return front
}

// Map draws shares of 0 to 1 as tiles from black (low) to white (high), with the figure in per cent on
// each: a row a name, a column a name. NaN is an empty tile.
func Map(rows, columns []string, value func(row, column int) float64) *Picture {
	p := plot.New()
	p.HideAxes()
	tile, line := vg.Points(34), vg.Points(14)
	left, top := widest(rows, 9)*spare+vg.Points(8), widest(columns, 9)*0.72*spare+vg.Points(18)
	p.Add(heat{rows, columns, value, tile, line, left, top})
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	return &Picture{plot: p, width: left + tile*vg.Length(len(columns)) + widest(columns, 9)*0.72*spare + vg.Points(12), height: top + line*vg.Length(len(rows)) + vg.Points(8)}
}

func widest(names []string, size float64) (w vg.Length) {
	face := font.DefaultCache.Lookup(sans(size), vg.Points(size))
	for _, n := range names {
		w = max(w, face.Width(n))
	}
	return w
}

// heat is a map's plotter.
type heat struct {
	rows, columns         []string
	value                 func(row, column int) float64
	tile, line, left, top vg.Length
}

// Plot draws the map onto the whole of c.
func (h heat) Plot(c draw.Canvas, p *plot.Plot) {
	style := p.X.Tick.Label
	style.Font = sans(9)
	style.YAlign = draw.YCenter
	for i, name := range h.columns {
		turned := style
		turned.Rotation, turned.XAlign, turned.YAlign = math.Pi/4, draw.XLeft, draw.YBottom
		c.FillText(turned, vg.Point{X: c.Min.X + h.left + h.tile*(vg.Length(i)+0.35), Y: c.Max.Y - h.top + vg.Points(3)}, name)
	}
	for r, name := range h.rows {
		y := c.Max.Y - h.top - h.line*(vg.Length(r)+0.5)
		right := style
		right.XAlign = draw.XRight
		c.FillText(right, vg.Point{X: c.Min.X + h.left - vg.Points(4), Y: y}, name)
		for i := range h.columns {
			v := h.value(r, i)
			if math.IsNaN(v) {
				continue
			}
			grey := uint8(70 + 185*min(max(v, 0), 1))
			x := c.Min.X + h.left + h.tile*vg.Length(i)
			c.FillPolygon(color.Gray{grey}, []vg.Point{{X: x, Y: y - h.line/2}, {X: x + h.tile, Y: y - h.line/2}, {X: x + h.tile, Y: y + h.line/2}, {X: x, Y: y + h.line/2}})
			number := style
			number.XAlign = draw.XCenter
			number.Font = sans(8)
			if grey < 145 {
				number.Color = color.White
			}
			c.FillText(number, vg.Point{X: x + h.tile/2, Y: y}, fmt.Sprintf("%.0f", 100*v))
		}
	}
}

// draw draws the picture onto a canvas of its size.
func (p *Picture) draw(c vg.CanvasSizer) {
	area := draw.New(c)
	area.SetColor(color.White)
	area.Fill(area.Rectangle.Path())
	if p.legend == nil {
		p.plot.Draw(area)
		return
	}
	// The legend stands beside the plot, where it hides nothing.
	side := p.legend.ThumbnailWidth + p.names*spare + vg.Points(14)
	p.plot.Draw(draw.Crop(area, 0, -side, vg.Points(2), -vg.Points(6)))
	p.legend.Draw(draw.Crop(area, area.Size().X-side+vg.Points(6), 0, 0, -vg.Points(6)))
}

// SVG writes the picture as SVG, whose text is text.
func (p *Picture) SVG(w io.Writer) error {
	c := vgsvg.New(p.width, p.height)
	p.draw(c)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	// Where Liberation Sans is not installed its metric equals serve as well.
	text := strings.ReplaceAll(b.String(), "font-family:Liberation Sans", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif")
	_, err := io.WriteString(w, text)
	return err
}

// PNG writes the picture as PNG, at 144 dots an inch.
func (p *Picture) PNG(w io.Writer) error {
	c := vgimg.NewWith(vgimg.UseWH(p.width, p.height), vgimg.UseDPI(144))
	p.draw(c)
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// ticks are the usual ones, with short numbers.
type ticks struct{}

func (ticks) Ticks(low, high float64) []plot.Tick {
	list := plot.DefaultTicks{}.Ticks(low, high)
	for i, t := range list {
		if t.Label != "" {
			list[i].Label = short(t.Value, high-low)
		}
	}
	return list
}

// logTicks are at 1, 2, 3, 5 and 7 times a power of ten.
type logTicks struct{}

func (logTicks) Ticks(low, high float64) (list []plot.Tick) {
	for power := math.Floor(math.Log10(low)); power <= math.Ceil(math.Log10(high)); power++ {
		for _, d := range []float64{1, 2, 3, 5, 7} {
			if x := d * math.Pow(10, power); x >= low && x <= high {
				list = append(list, plot.Tick{Value: x, Label: short(x, x)})
			}
		}
	}
	if len(list) < 2 { // a narrow range has none of these
		list = ticks{}.Ticks(low, high)
	}
	return list
}

// short prints a number of an axis that spans so much.
func short(x, span float64) string {
	unit, letter := 1.0, ""
	for _, u := range []struct {
		size   float64
		letter string
	}{{1e3, "k"}, {1e6, "M"}, {1e9, "G"}, {1e12, "T"}, {1e15, "P"}} {
		if math.Abs(x) >= u.size {
			unit, letter = u.size, u.letter
		}
	}
	if letter == "k" && math.Abs(x) < 1e4 && span < 1e4 && x == math.Trunc(x) {
		unit, letter = 1, ""
	}
	digits := max(0, min(6, 1-int(math.Floor(math.Log10(span/unit)))))
	text := fmt.Sprintf("%.*f", digits, x/unit)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		text = "0"
	}
	return text + letter
}
