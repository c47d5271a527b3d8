package kernels

import "time"

// Judge lets tests ask for the culler's judgement. The sentence begins with the news.
func Judge(c Cull, k Kernel, warned time.Time, s Spec, now time.Time) (sentence string, due time.Time) {
	v := c.judge(suspect{k, warned, s}, now)
	if v.news == Warned {
		v.sentence = "warned: " + v.sentence
	}
	return v.sentence, v.due
}

// Merge lets tests see what an owner sees.
func Merge(r Record, st *BridgeStatus, now time.Time) Kernel { return merge(r, st, now) }
