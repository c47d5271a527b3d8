package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

// meModel is the answer of /api/me.
type meModel struct {
	Identity    identityModel       `json:"identity"`
	Permissions map[string][]string `json:"permissions"`
}

type identityModel struct {
	Username    string  `json:"username"`
	Name        string  `json:"name"`
	DisplayName string  `json:"display_name"`
	Initials    string  `json:"initials"`
	AvatarURL   *string `json:"avatar_url"`
	Color       *string `json:"color"`
}

// permissions is what every caller may do with what is their own, in the words of jupyter_server.
var permissions = map[string]map[string]bool{
	"api":         {"read": true},
	"kernels":     {"read": true, "write": true, "execute": true},
	"kernelspecs": {"read": true},
	"sessions":    {"read": true, "write": true, "execute": true},
}

func (g *Gateway) me(c *call) error {
	granted, err := grant(c.r.URL.Query().Get("permissions"))
	if err != nil {
		return err
	}
	name := c.who.Name
	c.json(http.StatusOK, meModel{
		Identity:    identityModel{Username: name, Name: name, DisplayName: name, Initials: initials(name)},
		Permissions: granted,
	})
	return nil
}

// grant filters the resources and actions that were asked for, a JSON object of arrays of strings.
func grant(asked string) (map[string][]string, error) {
	granted := map[string][]string{}
	if asked == "" {
		return granted, nil
	}
	var wanted map[string][]string
	if json.Unmarshal([]byte(asked), &wanted) != nil {
		return nil, invalid(`"permissions" must be a JSON object of lists of actions.`)
	}
	if len(wanted) > maxPermissions {
		return nil, invalid(`"permissions" asks for too many resources.`)
	}
	for resource, actions := range wanted {
		if len(actions) > maxPermissions {
			return nil, invalid(`"permissions" asks for too many actions.`)
		}
		granted[resource] = []string{}
		for _, action := range actions {
			if permissions[resource][action] {
				granted[resource] = append(granted[resource], action)
			}
		}
	}
	return granted, nil
}

// initials are up to two letters for a round picture.
func initials(name string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("._-@", r) }) {
		if r, _ := utf8.DecodeRuneInString(word); b.Len() < 2 {
			b.WriteRune(r)
		}
	}
	return strings.ToUpper(b.String())
}
