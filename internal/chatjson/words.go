package chatjson

// reactions is a list of short names of emoji.
var reactions = [...]string{
	":+1:", ":heart:", ":joy:", ":tada:", ":eyes:", ":rocket:", ":thinking:", ":white_check_mark:",
}

// names are first and last names.
const names = `Ada Grace Linus Edsger Barbara Donald Margaret Alan Radia Dennis Ken Frances Katherine Tim Vint Sophie
	John Lovelace Hopper Moreau Schmidt Liskov Novak Hamilton Kovacs Perlman Silva Tanaka Allen Johnson
	Okafor Garcia Wilson`

// vocabulary lists words of English chats, the most frequent first.
const vocabulary = `the to a I and is it that in of you for on this with be have we are but not just was so if can my at
	what do as from like will they about all there one me or when your would get up think has an know
	out now good time how work more then some by our had he could see did go new no make really here
	also people need been want thanks today them who other should yeah into going way still after
	because back right much first where only than maybe very their too well even tomorrow something over
	any before these does team sure working release server test code build week message issue again
	thing things day last look problem using fix another meeting same next got take being better let
	great done try down off those which works update change two while every version since happy someone
	both doing most help made why always without data actually between point pretty long already
	everything under through start anyone file looks might point never home call left client network
	review branch deploy later probably different morning question idea add run used part feature list
	link page open set show found wrong read old find bit lot come keep check end users able few getting
	nothing place against until number change support error request response during second little ready
	quick late early coffee lunch friday monday weekend customer production staging database connection
	latency timeout metrics dashboard alert config script local remote merge commit rebase ticket sprint
	planning design budget report document draft schedule holiday office train weather picture music
	game weekend dinner movie family friend travel airport hotel booking flight minutes hours yesterday
	tonight quickly slowly honestly basically apparently definitely unfortunately hopefully otherwise
	somehow somewhere everyone nobody agree prefer suggest mention explain remember forget believe
	expect wonder guess confirm cancel postpone finish continue break replace remove increase reduce
	measure compare improve restart recover investigate reproduce understand interesting strange broken
	stable expensive cheap important urgent minor obvious complicated simple careful possible available
	missing`
