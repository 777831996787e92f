package loadtest

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/expedite-go/expedite/internal/human"
)

// Dimensions of a chart, in the units of its view box.
const (
	chartWidth, chartHeight = 520, 210
	chartLeft, chartRight   = 54, 12
	chartTop, chartBottom   = 12, 28
	plotWidth               = chartWidth - chartLeft - chartRight
	plotHeight              = chartHeight - chartTop - chartBottom
)

// series is one line of a chart. NaN is a gap.
type series struct {
	name   string
	class  string // CSS class, which sets the color
	values []float64
}

// chart is a drawing with its title and legend.
type chart struct {
	Title  string
	Legend []legend
	SVG    template.HTML // built from numbers and constant or escaped text
}

type legend struct{ Name, Class string }

// canvas draws a chart.
type canvas struct {
	b    strings.Builder
	topY float64 // value at the upper edge
}

func newCanvas(title string, top float64, label func(float64) string) *canvas {
	step := niceStep(top / 4)
	c := &canvas{topY: step * max(math.Ceil(top/step), 1)}
	fmt.Fprintf(&c.b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, title)
	for v := 0.0; v <= c.topY*1.001; v += step {
		y := c.y(v)
		fmt.Fprintf(&c.b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, chartLeft, chartWidth-chartRight, y, y)
		c.text(chartLeft-6, y+4, "end", label(v))
	}
	return c
}

func (c *canvas) y(v float64) float64 { return chartTop + plotHeight*(1-v/c.topY) }

func (c *canvas) text(x, y float64, anchor, s string) {
	fmt.Fprintf(&c.b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, template.HTMLEscapeString(s))
}

func (c *canvas) svg() template.HTML {
	c.b.WriteString("</svg>")
	return template.HTML(c.b.String())
}

// niceStep returns the smallest step of 1, 2 or 5 times a power of ten that is at least v.
func niceStep(v float64) float64 {
	if !(v > 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v*0.999 {
			return f * power
		}
	}
	return 10 * power
}

// lineChart draws values over time.
func lineChart(title string, times []float64, label func(float64) string, lines ...series) chart {
	top, end := 0.0, 0.0
	for _, s := range lines {
		for _, v := range s.values {
			if v > top {
				top = v
			}
		}
	}
	if n := len(times); n > 0 {
		end = times[n-1]
	}
	c := newCanvas(title, top, label)
	x := func(t float64) float64 { return chartLeft + plotWidth*t/max(end, 1e-9) }
	for step, t := niceStep(end/7), 0.0; t <= end*1.001 && end > 0; t += step {
		c.text(x(t), chartHeight-8, "middle", seconds(t))
	}
	out := chart{Title: title}
	for _, s := range lines {
		out.Legend = append(out.Legend, legend{s.name, s.class})
		c.line(s, times, x)
	}
	out.SVG = c.svg()
	return out
}

// line draws one series.
func (c *canvas) line(s series, times []float64, x func(float64) float64) {
	fmt.Fprintf(&c.b, `<path class="line %s" d="`, s.class)
	pen := byte('M')
	for i, v := range s.values {
		if math.IsNaN(v) {
			pen = 'M'
			continue
		}
		fmt.Fprintf(&c.b, "%c%.1f %.1f", pen, x(times[i]), c.y(v))
		if pen == 'M' && (i+1 == len(s.values) || math.IsNaN(s.values[i+1])) {
			c.b.WriteString("h0.1") // a single point
		}
		pen = 'L'
	}
	c.b.WriteString(`"/>`)
}

// seconds formats a time for an axis.
func seconds(t float64) string {
	if t >= 120 {
		return time.Duration(t * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%gs", math.Round(t*100)/100)
}

// maxBins is the number of bars of a histogram.
const maxBins = 48

// histogramChart draws the distribution of h on a logarithmic time axis.
func histogramChart(title string, h *hdrhistogram.Histogram) chart {
	low, high := math.Log10(float64(max(h.Min(), 1000))), math.Log10(float64(max(h.Max(), 2000)))
	low, high = math.Floor(low*4)/4, math.Ceil(high*4)/4+0.01
	bins := make([]float64, maxBins)
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			at := math.Log10(float64(max((bar.From+bar.To)/2, 1000)))
			i := int((at - low) / (high - low) * maxBins)
			bins[min(max(i, 0), maxBins-1)] += float64(bar.Count)
		}
	}
	top := 0.0
	for _, n := range bins {
		top = max(top, n)
	}
	c := newCanvas(title, top, amount)
	x := func(log float64) float64 { return chartLeft + plotWidth*(log-low)/(high-low) }
	width := float64(plotWidth) / maxBins
	for i, n := range bins {
		if n > 0 {
			y := c.y(n)
			fmt.Fprintf(&c.b, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`,
				chartLeft+float64(i)*width+0.5, y, width-1, chartTop+plotHeight-y)
		}
	}
	for d := math.Floor(low); d <= high; d++ {
		for _, f := range []float64{1, 2, 5} {
			if f > 1 && high-low > 2.5 {
				continue // not enough room for labels
			}
			if at := d + math.Log10(f); at >= low && at <= high {
				c.text(min(x(at), chartWidth-24), chartHeight-8, "middle", human.Seconds(f*math.Pow(10, d)/1e9))
			}
		}
	}
	for i, q := range []float64{50, 99} {
		at := x(math.Log10(float64(max(h.ValueAtPercentile(q), 1000))))
		fmt.Fprintf(&c.b, `<line class="mark" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, at, at, chartTop, chartTop+plotHeight)
		anchor, label := "start", at+4
		if at > chartWidth-110 {
			anchor, label = "end", at-4
		}
		c.text(label, float64(chartTop+10+14*i), anchor, fmt.Sprintf("p%g %s", q, human.Seconds(quantile(h, q))))
	}
	return chart{Title: title, SVG: c.svg()}
}

// amount formats a number for an axis.
func amount(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", math.Round(v/1e4)/100)
	case v >= 1e4:
		return fmt.Sprintf("%gk", math.Round(v/10)/100)
	default:
		return fmt.Sprintf("%g", math.Round(v*100)/100)
	}
}
