// Evaluates cases.json with expr-lang itself and writes expected.json, which tests/unit/schemas/expressions/test_expressions.py compares our own
// evaluator with. It is not run by the tests. After a change of cases.json:
//
//	cd tests/expressions && go run . && git diff expected.json
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
)

type group struct {
	Topic       string   `json:"topic"`
	Inputs      []string `json:"inputs"`
	Expressions []string `json:"expressions"`
}

type cases struct {
	Inputs map[string]any `json:"inputs"`
	Groups []group        `json:"groups"`
}

type outcome struct {
	Expression   string          `json:"expression"`
	Input        string          `json:"input"`
	Result       json.RawMessage `json:"result,omitempty"`
	CompileError string          `json:"compile_error,omitempty"`
	RunError     string          `json:"run_error,omitempty"`
}

func main() {
	source, err := os.Open("cases.json")
	check(err)
	decoder := json.NewDecoder(source)
	decoder.UseNumber()
	var all cases
	check(decoder.Decode(&all))

	var outcomes []outcome
	for _, group := range all.Groups {
		for _, expression := range group.Expressions {
			for _, input := range group.Inputs {
				payload, known := all.Inputs[input]
				if !known {
					log.Fatalf("unknown input %s", input)
				}
				outcomes = append(outcomes, evaluate(expression, input, exact(payload)))
			}
		}
	}
	target, err := os.Create("expected.json")
	check(err)
	encoder := json.NewEncoder(target)
	encoder.SetEscapeHTML(false)
	_, err = target.WriteString("[\n")
	check(err)
	for i, outcome := range outcomes {
		if i > 0 {
			_, err = target.WriteString(",")
			check(err)
		}
		check(encoder.Encode(outcome))
	}
	_, err = target.WriteString("]\n")
	check(err)
	check(target.Close())
}

// evaluate compiles as the reference does: without a declared environment, with link() as the one function of its own.
func evaluate(expression, input string, payload any) outcome {
	result := outcome{Expression: expression, Input: input}
	link := func(params ...any) (any, error) { return nil, errors.New("no links here") }
	program, err := expr.Compile(expression, expr.Function("link", link))
	if err != nil {
		result.CompileError = message(err)
		return result
	}
	value, err := expr.Run(program, map[string]any{"event": payload})
	if err != nil {
		result.RunError = message(err)
		return result
	}
	result.Result = json.RawMessage(encode(reflect.ValueOf(value)))
	return result
}

// message is the error without its place in the expression.
func message(err error) string {
	var bound *file.Error
	if errors.As(err, &bound) {
		return bound.Message
	}
	return err.Error()
}

// exact makes integers of what JSON writes without a fraction or exponent; the reference has floats only.
func exact(value any) any {
	switch value := value.(type) {
	case json.Number:
		if integer, err := strconv.Atoi(value.String()); err == nil {
			return integer
		}
		float, err := value.Float64()
		check(err)
		return float
	case []any:
		for i := range value {
			value[i] = exact(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = exact(value[key])
		}
	}
	return value
}

// encode writes JSON in which floats can be told from integers: they always have a fraction or an exponent, or are
// {"$float": "+Inf"}.
func encode(value reflect.Value) string {
	switch value.Kind() {
	case reflect.Invalid:
		return "null"
	case reflect.Interface:
		return encode(value.Elem())
	case reflect.Bool:
		return strconv.FormatBool(value.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(value.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(value.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		return encodeFloat(value.Float())
	case reflect.String:
		text, err := json.Marshal(value.String())
		check(err)
		return string(text)
	case reflect.Slice, reflect.Array:
		items := make([]string, value.Len())
		for i := range items {
			items[i] = encode(value.Index(i))
		}
		return "[" + strings.Join(items, ",") + "]"
	case reflect.Map:
		members := make([]string, 0, value.Len())
		for _, key := range value.MapKeys() {
			name, err := json.Marshal(fmt.Sprint(key.Interface()))
			check(err)
			members = append(members, string(name)+":"+encode(value.MapIndex(key)))
		}
		sort.Strings(members)
		return "{" + strings.Join(members, ",") + "}"
	}
	panic(fmt.Sprintf("no JSON for %s", value.Type()))
}

func encodeFloat(value float64) string {
	if math.IsInf(value, 0) || math.IsNaN(value) {
		return fmt.Sprintf(`{"$float":"%v"}`, value)
	}
	text := strconv.FormatFloat(value, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
