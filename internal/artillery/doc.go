// Package artillery compiles load scripts of artillery (for its engine ws) to load plans, so that `expedite bench` runs
// such scripts unchanged.
//
// A script means what artillery 2.0.21 does with it, as observed by running artillery against a server that records
// what arrives. Code that follows surprising behavior says "as artillery does". Anything that artillery ignores
// silently, such as an unknown key, is an error here, with file, line, key and a hint: a script that does not do what
// its author thinks measures the wrong thing. Deliberate differences:
//
//   - A variable that is not set ends the user or makes the script invalid. Artillery sends the word "undefined".
//   - The brace behind "{{ n }}}" is text. Artillery makes it part of the template.
//   - Templates work in all headers, and in those of a connect step for each user.
//   - Rates may have fractions. Artillery requires whole numbers.
//   - A phase with arrivalRate 0 is a pause, as artillery's manual says. Artillery 2.0.21 skips it.
//   - match compares values as text.
//   - $loopCount is correct after an inner loop.
//
// Functions of a processor are refused: they may do anything, and Node.js is not available.
package artillery
