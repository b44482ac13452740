package main

import (
	"fmt"
	"html"
	"strings"
)

// canvas collects the elements of an SVG picture.
type canvas struct {
	width, height float64
	body          strings.Builder
}

const (
	ink   = "#212529"
	faint = "#868e96"
	grid  = "#e9ecef"
)

func (c *canvas) String() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="12" fill="%s">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, c.width, c.height, c.width, c.height, ink, c.body.String())
}

func (c *canvas) add(format string, args ...any) {
	fmt.Fprintf(&c.body, format+"\n", args...)
}

// text writes at a baseline. anchor is start, middle or end; style holds further
// attributes.
func (c *canvas) text(x, y float64, anchor, style, text string) {
	c.add(`<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`, x, y, anchor, style, html.EscapeString(text))
}

func (c *canvas) line(x1, y1, x2, y2 float64, style string) {
	c.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`, x1, y1, x2, y2, style)
}

// point is a place on the canvas.
type point struct{ x, y float64 }

func (c *canvas) polyline(points []point, style string) {
	var b strings.Builder
	for _, p := range points {
		fmt.Fprintf(&b, "%.1f,%.1f ", p.x, p.y)
	}
	c.add(`<polyline points="%s" fill="none" stroke-linejoin="round" %s/>`, strings.TrimSpace(b.String()), style)
}

func (c *canvas) title(title, subtitle string) {
	c.text(16, 26, "start", `font-size="16" font-weight="bold"`, title)
	c.text(16, 44, "start", `font-size="11" fill="`+faint+`"`, subtitle)
}
