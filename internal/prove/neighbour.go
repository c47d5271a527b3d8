package prove

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// neighbourPort is where the second tenant listens within its own network.
const neighbourPort = 8642

// neighbourPlan is what the second tenant does: see inside/neighbour.py.
type neighbourPlan struct {
	Mark     string            `json:"mark"`
	Secrets  map[string]string `json:"secrets"`
	Port     int               `json:"port"`
	Abstract string            `json:"abstract"`
}

// startNeighbour starts the second tenant and waits until it has hidden its secrets.
func (r *run) startNeighbour(ctx context.Context) error {
	p := r.plant
	what := neighbourPlan{Mark: p.mark, Port: neighbourPort, Abstract: p.mark + "-neighbour", Secrets: map[string]string{
		"home": p.secret("a file of the neighbour"), "tmp": p.secret("a temporary file of the neighbour"),
		"memory": p.secret("shared memory of the neighbour"), "socket": p.secret("a service of the neighbour"),
		"argument": p.secret("the arguments of a process of the neighbour"),
	}}
	list, err := files(map[string]any{"neighbour": what})
	if err != nil {
		return err
	}
	p.targets.TCP = append(p.targets.TCP, [2]any{"127.0.0.1", neighbourPort})
	p.targets.Abstract = append(p.targets.Abstract, what.Abstract)
	if r.neighbour, err = r.level.Start(ctx, Job{Neighbour: true, Files: list}); err != nil {
		return fmt.Errorf("start the neighbour: %w", err)
	}
	r.words = new(reader)
	for end := time.Now().Add(startTime); ; {
		output, err := r.neighbour.Output()
		if err == nil {
			r.words.read(output)
		}
		if r.words.has("settled") {
			return nil
		}
		if ctx.Err() != nil || err != nil || !r.neighbour.Alive() || time.Now().After(end) {
			_, closed := r.neighbour.Close(context.WithoutCancel(ctx))
			return fmt.Errorf("the neighbour does not start: %w: %.500q", errors.Join(ctx.Err(), err, closed), output)
		}
		sleep(ctx, pollEvery)
	}
}

// hearNeighbour returns what the neighbour has noticed since the last call.
func (r *run) hearNeighbour() []frame {
	if r.neighbour == nil {
		return nil
	}
	output, err := r.neighbour.Output()
	if err != nil {
		return []frame{{What: "it cannot be heard", Detail: err.Error()}}
	}
	r.words.read(output)
	var fresh []frame
	if !r.neighbour.Alive() {
		fresh = append(fresh, frame{What: "it was ended"})
	}
	for n := 1; ; n++ {
		f, ok := r.words.frames[n]
		if !ok {
			return fresh
		}
		if n > r.heard && f.Kind == "notice" {
			fresh = append(fresh, f)
		}
		r.heard = max(r.heard, n)
	}
}
