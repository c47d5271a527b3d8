//go:build e2e

package e2e_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// contract is what its points share: one gateway, two people, and a kernel of the first one's.
type contract struct {
	g          *gateway
	alice, bob person
	kernel     string
}

// TestContract has one subtest for each of the twenty points that existing clients insist on, by its number. Parts that
// need exact timing or hostile bytes are subtests of the same numbers in the bridge's and the gateway's packages.
func TestContract(t *testing.T) {
	g := startGateway(t, "kernels: {env_allow: [KERNEL_*, LANG]}")
	c := &contract{g: g, alice: person{g.url, g.user(t, "alice")}, bob: person{g.url, g.user(t, "bob")}}
	c.kernel = c.alice.newKernel(t)
	for _, point := range []struct {
		name  string
		check func(*testing.T, *contract)
	}{
		{"01_times_and_error_objects", timesAndErrors},
		{"02_exact_status_codes", exactCodes},
		{"03_unknown_and_foreign_ids_are_404", foreignIDs},
		{"04_both_wire_formats", bothFormats},
		{"05_top_level_fields_in_JSON", topLevelFields},
		{"06_large_messages_and_slow_readers", largeAndSlow},
		{"07_nothing_is_lost_at_the_start", firstOutput},
		{"08_replay_exactly_once", replay},
		{"09_input_only_from_the_requester", input},
		{"10_interrupt_within_a_second", interrupts},
		{"11_restart", restarts},
		{"12_shutdown_by_a_client", shutdownByClient},
		{"13_deaths", deaths},
		{"14_quota_under_parallel_starts", quotaHolds},
		{"15_hostile_environment", hostileEnvironment},
		{"16_credentials", credentials},
		{"17_probes_of_VS_Code", codeProbes},
		{"18_culling", culling},
		{"19_gateway_restart", gatewayRestarts},
		{"20_no_leaks", noLeaks},
	} {
		t.Run(point.name, func(t *testing.T) { point.check(t, c) })
	}
}

var (
	anyTime  = regexp.MustCompile(`"(?:last_activity|started)":"([^"]*)"`)
	goodTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
)

func timesAndErrors(t *testing.T, c *contract) {
	c.alice.openSession(t, "times.ipynb", c.kernel)
	started := c.alice.call(t, "POST", "/api/kernels", "")
	var model struct{ ID string }
	if err := json.Unmarshal([]byte(started.body), &model); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.alice.remove(t, model.ID) })
	bodies := []string{started.body}
	for _, path := range []string{"/api/kernels", "/api/kernels/" + c.kernel, "/api/sessions", "/api/status"} {
		bodies = append(bodies, c.alice.call(t, "GET", path, "").body)
	}
	for _, body := range bodies {
		found := anyTime.FindAllStringSubmatch(body, -1)
		if len(found) == 0 {
			t.Errorf("no time in %s", body)
		}
		for _, one := range found {
			if !goodTime.MatchString(one[1]) {
				t.Errorf("the time %q has not six digits and a Z", one[1])
			}
		}
	}

	nobody := person{c.g.url, "nonsense"}
	for _, row := range []struct {
		who                person
		method, path, body string
		status             int
	}{
		{c.alice, "GET", "/api/kernels/" + uuid.NewString(), "", 404},
		{c.alice, "GET", "/api/nothing/of/that/name", "", 404},
		{c.alice, "GET", "/api/kernelspecs/nothing", "", 404},
		{c.alice, "POST", "/api/kernels", "{", 400},
		{c.alice, "POST", "/api/kernels", `{"name":"nothing"}`, 400},
		{c.alice, "POST", "/api/kernels", `{"kernel_id":"` + c.kernel + `"}`, 409},
		{c.alice, "POST", "/api/sessions", `{"path":"a.ipynb"}`, 400},
		{c.alice, "PUT", "/api/kernels", "", 405},
		{nobody, "GET", "/api/kernels", "", 401},
		{nobody, "GET", "/api/kernels/" + c.kernel + "/channels", "", 401},
	} {
		got := row.who.call(t, row.method, row.path, row.body)
		var object struct{ Message, Reason *string }
		if err := json.Unmarshal([]byte(got.body), &object); err != nil || object.Message == nil || object.Reason == nil {
			t.Errorf("%s %s: not an object with message and reason: %s", row.method, row.path, got.body)
		} else if got.status != row.status || *object.Message == "" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d (not %d) %v %s", row.method, row.path, got.status, row.status, got.header, got.body)
		}
	}
}

// exactCodes asks as JupyterLab does, with its cache-buster behind every path.
func exactCodes(t *testing.T, c *contract) {
	const buster = "?1732300000000"
	p := c.alice
	check := func(status int, method, path, body string) answer {
		t.Helper()
		got := p.call(t, method, path+buster, body)
		if got.status != status {
			t.Fatalf("%s %s: %d instead of %d: %s", method, path, got.status, status, got.body)
		}
		if status == http.StatusNoContent && got.body != "" {
			t.Errorf("%s %s: 204 with a body", method, path)
		}
		return got
	}
	kernel := check(201, "POST", "/api/kernels", "{}").header.Get("Location")
	t.Cleanup(func() { p.remove(t, strings.TrimPrefix(kernel, "/api/kernels/")) })
	check(200, "GET", kernel, "")
	p.peer(t, strings.TrimPrefix(kernel, "/api/kernels/"), "codes").run("x = 1") // it has started
	check(204, "POST", kernel+"/interrupt", "")
	check(204, "POST", kernel+"/interrupt", "{}")
	var model struct{ ID, Name, Execution_state string }
	if body := check(200, "POST", kernel+"/restart", "").body; json.Unmarshal([]byte(body), &model) != nil ||
		!strings.HasSuffix(kernel, "/"+model.ID) || model.Name == "" || model.Execution_state == "" {
		t.Errorf("restart answers %s", body)
	}
	session := check(201, "POST", "/api/sessions", `{"path":"codes.ipynb","name":"codes","type":"notebook","kernel":{"id":"`+model.ID+`"}}`).
		header.Get("Location")
	check(200, "GET", session, "")
	check(200, "PATCH", session, `{"path":"renamed.ipynb"}`)
	check(204, "DELETE", session, "")
	check(404, "GET", session, "")
	check(404, "DELETE", kernel, "") // it went with its session
	again := check(201, "POST", "/api/kernels", "").header.Get("Location")
	check(204, "DELETE", again, "")
	check(404, "DELETE", again, "")
	check(404, "GET", again, "")
}
