// Package artillery reads load scripts of artillery (its engine ws) and makes load plans of them, so that
// `expedite bench` runs them as they are.
//
// What a script means is what artillery 2.0.21 does with it, found out by running it beside a server that writes down
// what arrives. Where its ways surprise, the code that follows them says "as artillery does". What it would pass over
// in silence, such as a key that it does not know, is an error here, with file, line, key and a hint: a script that
// means something else than its author thinks makes no measurement. Deliberate differences:
//
//   - A variable that is not set ends the user, or refuses the script. Artillery sends the word "undefined".
//   - The brace behind "{{ n }}}" stays. Artillery takes it for a part of the template.
//   - Templates work in all headers, and in those of a connect step for each user.
//   - Rates may have fractions. Artillery wants whole numbers.
//   - A phase with arrivalRate 0 is a pause, as artillery's manual says. Artillery 2.0.21 leaves it out.
//   - What match compares is compared as text.
//   - $loopCount is right behind an inner loop, too.
//
// Functions of a processor are refused: they may do anything, and nothing of Node.js is here.
package artillery
