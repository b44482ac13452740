package main

import (
	"cmp"
	"fmt"
	"slices"
)

// series is one store's line.
type series struct {
	name   string
	style  style
	points []point // values, not places
}

// lineChart is lines over one pair of axes, each with its name at its end.
type lineChart struct {
	title, subtitle, footnote string
	plain                     bool // no dots at the points
	x, y                      axis
	series                    []series
}

const (
	chartWidth  = 880
	chartHeight = 520
	labelGap    = 14 // between the names of two lines
)

func (l *lineChart) svg() string {
	c := &canvas{width: chartWidth, height: chartHeight}
	c.title(l.title, l.subtitle)
	l.draw(c, 72, 64, chartWidth-160, chartHeight-56, true)
	c.text(chartWidth-16, chartHeight-14, "end", `font-size="11" fill="`+faint+`"`, l.footnote)
	return c.String()
}

// draw draws axes and lines into a rectangle. Names are drawn right of it.
func (l *lineChart) draw(c *canvas, left, top, right, bottom float64, names bool) {
	l.x.from, l.x.to, l.y.from, l.y.to = left, right, bottom, top
	for _, t := range l.y.ticks {
		y := l.y.at(t.value)
		c.line(left, y, right, y, `stroke="`+grid+`"`)
		c.text(left-8, y+4, "end", `fill="`+faint+`"`, t.label)
	}
	for _, t := range l.x.ticks {
		x := l.x.at(t.value)
		c.line(x, bottom, x, bottom+5, `stroke="`+faint+`"`)
		c.text(x, bottom+19, "middle", `fill="`+faint+`"`, t.label)
	}
	c.line(left, bottom, right, bottom, `stroke="`+faint+`"`)
	c.text((left+right)/2, bottom+39, "middle", "", l.x.title)
	c.text(0, 0, "middle", fmt.Sprintf(`transform="translate(%.1f %.1f) rotate(-90)"`, left-50, (top+bottom)/2), l.y.title)
	// What matters most is drawn last, above the others.
	slices.SortStableFunc(l.series, func(a, b series) int { return cmp.Compare(a.style.width, b.style.width) })
	for _, s := range l.series {
		l.drawSeries(c, s)
	}
	if names {
		l.drawNames(c, right, top, bottom)
	}
}

func (l *lineChart) drawSeries(c *canvas, s series) {
	places := make([]point, len(s.points))
	for i, p := range s.points {
		places[i] = point{l.x.at(p.x), l.y.at(p.y)}
	}
	c.polyline(places, s.style.stroke())
	if l.plain {
		return
	}
	for _, p := range places {
		c.add(`<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>`, p.x, p.y, s.style.width+0.8, s.style.color)
	}
}

// drawNames writes each line's name beside its end, moved so that no two meet.
func (l *lineChart) drawNames(c *canvas, right, top, bottom float64) {
	type name struct {
		series
		end point
		y   float64
	}
	names := make([]name, len(l.series))
	for i, s := range l.series {
		last := s.points[len(s.points)-1]
		end := point{l.x.at(last.x), l.y.at(last.y)}
		names[i] = name{s, end, end.y}
	}
	slices.SortFunc(names, func(a, b name) int { return cmp.Compare(a.end.y, b.end.y) })
	for i := range names { // down, and then up from the bottom
		names[i].y = max(names[i].y, top)
		if i > 0 {
			names[i].y = max(names[i].y, names[i-1].y+labelGap)
		}
	}
	for i, limit := len(names)-1, bottom; i >= 0; i, limit = i-1, names[i].y-labelGap {
		names[i].y = min(names[i].y, limit)
	}
	for _, n := range names {
		c.line(n.end.x+4, n.end.y, right+16, n.y, fmt.Sprintf(`stroke="%s" stroke-width="0.7" opacity="0.6"`, n.style.color))
		weight := ""
		if n.style.strong {
			weight = ` font-weight="bold"`
		}
		c.text(right+19, n.y+4, "start", fmt.Sprintf(`fill="%s"%s`, n.style.color, weight), n.name)
	}
}
