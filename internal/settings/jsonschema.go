package settings

import (
	"encoding/json"
	"io"
	"strconv"
)

// schemaNode is a part of a JSON Schema, draft 7: the one that most editors know.
type schemaNode struct {
	Schema      string                 `json:"$schema,omitempty"`
	ID          string                 `json:"$id,omitempty"`
	Title       string                 `json:"title,omitempty"`
	Description string                 `json:"description,omitempty"`
	Type        any                    `json:"type,omitempty"`
	Default     any                    `json:"default,omitempty"`
	Enum        []string               `json:"enum,omitempty"`
	Pattern     string                 `json:"pattern,omitempty"`
	Minimum     *int                   `json:"minimum,omitempty"`
	Maximum     *int                   `json:"maximum,omitempty"`
	Items       *schemaNode            `json:"items,omitempty"`
	AnyOf       []*schemaNode          `json:"anyOf,omitempty"`
	Properties  map[string]*schemaNode `json:"properties,omitempty"`
	Closed      *bool                  `json:"additionalProperties,omitempty"`
}

// WriteJSONSchema writes the JSON Schema of the configuration file.
func WriteJSONSchema(w io.Writer) error {
	root := &schemaNode{
		Schema: "http://json-schema.org/draft-07/schema#", Title: "Configuration of expedite serve", Type: "object",
		Properties: make(map[string]*schemaNode), Closed: new(false),
	}
	for _, s := range newTable(new(Program)).settings() {
		if !s.IsSecret() {
			root.Properties[s.Name] = s.schema()
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(root)
}

// schema returns the JSON Schema of the value of a setting.
func (s *Setting) schema() *schemaNode {
	n := s.to.schema()
	n.Description, n.Default = s.Help, nil
	if s.Auto != "" {
		n.Description += " Default: " + s.Auto + "."
	}
	switch number, err := strconv.Atoi(s.Default); {
	case s.to.flag:
		n.Default = s.Default == "true"
	case s.Default != "" && err == nil:
		n.Default = number
	case s.Default != "":
		n.Default = s.Default
	}
	return n
}

// schema returns the JSON Schema of the values that a type accepts.
func (v *value) schema() *schemaNode {
	number := &schemaNode{Type: "integer", Minimum: v.min, Maximum: v.max}
	switch {
	case v.list:
		one := &schemaNode{Type: "string"}
		if v.port {
			one.Type = []string{"string", "integer"}
		}
		return &schemaNode{AnyOf: []*schemaNode{{Type: "array", Items: one}, one}}
	case v.flag:
		return &schemaNode{Type: "boolean"}
	case v.enum != nil:
		return &schemaNode{Enum: v.enum}
	case v.min != nil && v.pattern != "":
		return &schemaNode{AnyOf: []*schemaNode{{Type: "string", Pattern: v.pattern}, number}}
	case v.min != nil:
		return number
	case v.port:
		return &schemaNode{Type: []string{"string", "integer"}}
	default:
		return &schemaNode{Type: "string", Pattern: v.pattern}
	}
}
