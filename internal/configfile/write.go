package configfile

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Scalar returns a text as a value of the configuration file. It is quoted if it needs to be.
func Scalar(text string) string {
	var list []yaml.Node // in a list, a comma or bracket needs quotes as well
	err := yaml.Unmarshal([]byte("["+text+"]"), &list)
	if err == nil && len(list) == 1 && list[0].Kind == yaml.ScalarNode && !isNull(&list[0]) && list[0].Value == text &&
		list[0].Tag != "!!bool" || text == "true" || text == "false" {
		return text
	}
	return strconv.Quote(text)
}

// List returns texts as a list in the configuration file.
func List(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = Scalar(t)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
