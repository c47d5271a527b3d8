package main

import "fmt"

// Goals.
const (
	tripOver     = 0.15 // milliseconds over direct, of half of the round trips
	tripOverTail = 0.6  // of 99 of 100
	connectGoal  = 3.0  // milliseconds
	timesBest    = 30   // as many messages as the best other gateway
	manyShare    = 0.95 // of one kernel's messages a second, when there are many
	cpuGoal      = 2.0  // seconds for 100 000 small messages
	replayGoal   = 100.0
)

// outputGoals are in messages a second for small ones, in MB a second for large ones.
var outputGoals = map[string]float64{outputKey(100, true): 100_000, outputKey(100, false): 60_000,
	outputKey(1_000_000, true): 250, outputKey(1_000_000, false): 250}

func tripText(s sample) string { return fmt.Sprintf("%.2f / %.2f", half(s), s.get("").at(0.99)) }

func tripRow(kind string, o dialOptions) row {
	short := ""
	if kind == "execute" && o.v1 {
		short = fmt.Sprintf("an empty cell, %s client (ms, p50 / p99)", clients[o.quick])
	}
	return row{
		short: short,
		name:  fmt.Sprintf("%s, %s, %s client (ms, p50 / p99)", kind, formats[o.v1], clients[o.quick]), key: tripKey(kind, o), base: kind,
		show: tripText, figure: half, goal: fmt.Sprintf("direct + %.2f / + %.1f", tripOver, tripOverTail),
		met: func(s sides) bool {
			return half(s.own) <= half(s.direct)+tripOver && s.own.get("").at(0.99) <= s.direct.get("").at(0.99)+tripOverTail
		},
	}
}

func jupyterClientRow(kind string) row {
	return row{name: kind + ", jupyter_client without a server (ms, p50 / p99)", key: kind + " jupyter_client", show: tripText}
}

func connectRow() row {
	return row{
		short: "connect to first reply (ms, p50 / p99)",
		name:  "connect to first reply, v1 (ms, p50 / p99)", key: "connect", show: tripText, figure: half,
		goal: fmt.Sprintf("≤ %.0f / –", connectGoal), met: func(s sides) bool { return half(s.own) <= connectGoal },
	}
}

func outputRow(size int, v1 bool) row {
	unit, scale := "messages/s", 1.0
	if size >= 1_000_000 {
		unit, scale = "MB/s", float64(size)/1e6
	}
	key := outputKey(size, v1)
	r := row{
		name: fmt.Sprintf("output of %s, %s (%s)", bytesText(size), formats[v1], unit), key: key, base: fmt.Sprintf("output %d", size),
		figure: func(s sample) float64 { return s.get(" rate").median() * scale }, more: true,
	}
	r.show = func(s sample) string { return thousands(r.figure(s)) + faults(s) }
	if v1 {
		r.short = fmt.Sprintf("output of %s (%s)", bytesText(size), unit)
	}
	if goal := outputGoals[key]; goal > 0 {
		r.goal = "≥ " + thousands(goal)
		r.met = func(s sides) bool { return r.figure(s.own) >= goal && whole(s.own) }
	}
	return r
}

// timesBestRow compares how much passes with the best other gateway.
func timesBestRow(v1 bool) row {
	r := outputRow(100, v1)
	r.name = fmt.Sprintf("output of 100 B, %s, to the best other", formats[v1])
	r.goal = fmt.Sprintf("≥ %d ×", timesBest)
	r.show = func(sample) string { return "" }
	r.short = ""
	r.met = func(s sides) bool { return r.figure(s.own) >= timesBest*r.figure(s.best) }
	r.others = true
	return r
}

func manyRow() row {
	rate := func(s sample) float64 { return s.get(" rate").median() }
	return row{
		name: fmt.Sprintf("%d kernels at once, 100 B, v1, sum (messages/s)", manyKernels), key: "many", figure: rate, more: true,
		show: func(s sample) string { return thousands(rate(s)) + faults(s) }, goal: "as one kernel",
		met: func(s sides) bool {
			return whole(s.own) && rate(s.own) >= manyShare*rate(s.own.of(outputKey(100, true)))
		},
	}
}

func cpuRow(v1 bool) row {
	short := ""
	if v1 {
		short = "processor time for 100 000 of 100 B (s)"
	}
	return row{
		short: short,
		name:  fmt.Sprintf("server CPU for 100 000 of 100 B, %s (s)", formats[v1]), key: outputKey(100, v1) + " cpu",
		show: func(s sample) string { return fmt.Sprintf("%.2f", half(s)) }, figure: half,
		goal: fmt.Sprintf("≤ %.0f", cpuGoal), met: func(s sides) bool { return half(s.own) <= cpuGoal },
	}
}

func lossRow(rate int, v1 bool) row {
	r := row{
		name: fmt.Sprintf("lost of 100 000, %s, %s", rateText(rate), formats[v1]), key: lossKey(rate, v1), base: fmt.Sprintf("loss %d", rate),
		goal: lossGoals[rate],
		show: func(s sample) string {
			lost := s.get(" lost")
			text := fmt.Sprintf("%s (%s–%s), idle %s, reply %s", thousands(lost.median()), thousands(lost.at(0)), thousands(lost.max()),
				share(s.get(" idle")), share(s.get(" reply")))
			if wrong := s.get(" wrong").sum(); wrong > 0 {
				text += fmt.Sprintf(", %s doubled or out of order", thousands(wrong))
			}
			return text
		},
	}
	switch rate {
	case 50_000:
		if v1 {
			r.short = "lost of 100 000 that a kernel prints in two seconds"
		}
		r.met = func(s sides) bool { return whole(s.own) }
	case 0:
		r.met = func(s sides) bool {
			return ended(s.own) && s.own.get(" lost").median() <= s.direct.get(" lost").median()
		}
	}
	return r
}

func rateText(rate int) string {
	if rate == 0 {
		return "flat out"
	}
	return "at " + thousands(float64(rate)) + "/s"
}

func replayRow() row {
	return row{
		short: "come back to 10 000 messages after a cut (ms)",
		name:  "come back to 10 000 messages (ms)", key: "replay", figure: half,
		show: func(s sample) string { return thousands(half(s)) + faults(s) },
		goal: fmt.Sprintf("≤ %.0f, whole", replayGoal),
		met:  func(s sides) bool { return half(s.own) <= replayGoal && whole(s.own) },
	}
}
