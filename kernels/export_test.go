package kernels

import "time"

// Verdict lets tests ask for the culler's judgement.
func Verdict(c Cull, k Kernel, s Spec, now time.Time) string { return c.verdict(k, s, now) }

// Merge lets tests see what an owner sees.
func Merge(r Record, st *BridgeStatus, now time.Time) Kernel { return merge(r, st, now) }
