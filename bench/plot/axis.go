package main

import (
	"math"
	"strconv"
)

// axis maps values to a stretch of the canvas.
type axis struct {
	title    string
	log      bool
	lo, hi   float64 // values
	from, to float64 // canvas
	ticks    []tick
}

type tick struct {
	value float64
	label string
}

func (a *axis) at(v float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		lo, hi, v = math.Log(lo), math.Log(hi), math.Log(v)
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

// fitLog makes the axis go from decade to decade around the values, or to half
// of one, with a tick at each decade.
func (a *axis) fitLog(values []float64) {
	a.log = true
	lo, hi := bounds(values)
	a.lo, a.hi = decade(lo, math.Floor), decade(hi, math.Ceil)
	if hi < a.hi/2.5 {
		a.hi /= 2.5
	}
	if lo > a.lo*2.5 {
		a.lo *= 2.5
	}
	for v := decade(lo, math.Floor); v <= a.hi*1.001; v *= 10 {
		if v >= a.lo*0.999 {
			a.ticks = append(a.ticks, tick{v, short(v)})
		}
	}
}

func decade(v float64, round func(float64) float64) float64 {
	return math.Pow(10, round(math.Log10(v)+1e-9*sign(round)))
}

// sign leans an exact power of ten away from the next one.
func sign(round func(float64) float64) float64 {
	if round(0.5) == 0 {
		return 1
	}
	return -1
}

// fitLinear makes the axis go from zero to a round number above the values.
func (a *axis) fitLinear(values []float64) {
	_, hi := bounds(values)
	step := math.Pow(10, math.Floor(math.Log10(hi/2)))
	for _, m := range []float64{1, 2, 5, 10} {
		if hi*1.05/(step*m) <= 5 {
			step *= m
			break
		}
	}
	a.lo, a.hi = 0, step*math.Ceil(hi*1.05/step)
	for i := 0.0; i*step <= a.hi*1.001; i++ {
		a.ticks = append(a.ticks, tick{i * step, short(i * step)})
	}
}

func bounds(values []float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// short is a number as an axis shows it.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return trim(v/1e6) + "M"
	case v >= 1e3:
		return trim(v/1e3) + "k"
	}
	return trim(v)
}

func trim(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
