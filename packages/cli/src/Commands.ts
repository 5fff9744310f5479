/**
 * The commands and what they take.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import type * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Retry from "perdure/Retry"
import * as Arguments from "./Arguments.ts"
import { UsageError } from "./CliError.ts"
import * as Help from "./Help.ts"
import * as Providers from "./Providers.ts"

/**
 * The program's name, as it is typed and as it begins its messages.
 *
 * @since 0.1.0
 * @category constants
 */
export const program = "perdure"

const { spec } = Retry.article
const shown = (duration: Duration.Duration | undefined) => duration === undefined ? "none" : Duration.format(duration)
const firstWait = spec.backoff._tag === "Exponential" ? shown(spec.backoff.base) : spec.backoff.name

const setting = (name: string, value: string, about: string) =>
  Options.text(name).pipe(Options.withPseudoName(value), Options.withDescription(about), Options.optional)

const recorded = setting("receipts", "file", "A file to add the receipt of every call to, one a line, for the report")
const priced = setting(
  "prices",
  "file",
  "A JSON table of what a million tokens of each model cost, for the cost of the call"
)

const askConfig = {
  prompt: Args.text({ name: "prompt" }).pipe(
    Args.withDescription("What to ask; - reads it from standard input, and after -- it may begin with a dash")
  ),
  model: Options.text("model").pipe(
    Options.withAlias("m"),
    Options.withPseudoName("provider/model"),
    Options.withDescription("The model to ask (openai/gpt-4o); the providers are listed below"),
    Options.withDefault("openai/gpt-4o")
  ),
  fallback: Options.text("fallback").pipe(
    Options.withPseudoName("provider/model"),
    Options.withDescription("A model to ask when the one before fails; may be repeated"),
    Options.repeated
  ),
  system: setting("system", "text", "Instructions that frame the question"),
  temperature: setting("temperature", "number", "From 0 (steady) to 2 (wild)"),
  maxTokens: setting("max-tokens", "number", "The most tokens the answer may have"),
  attempts: setting(
    "attempts",
    "number",
    `The most calls to each model, the first included (${spec.attempts ?? "no limit"})`
  ),
  retryBase: setting("retry-base", "duration", `The first wait, doubled after every failure (${firstWait})`),
  retryCap: setting("retry-cap", "duration", `The most that a backoff waits (${shown(spec.cap)})`),
  within: setting("within", "duration", `The time in which each model's retries must start (${shown(spec.within)})`),
  timeout: setting(
    "timeout",
    "duration",
    "The most time that one attempt may take, of a stream until its first words (no limit)"
  ),
  stream: Options.boolean("stream").pipe(Options.withDescription("Print the answer while it comes")),
  whenCut: setting(
    "when-cut",
    "what",
    "What to do when a stream is cut after its first words: fail, restart the answer at another model, or buffer it " +
      "until it is complete (fail)"
  ),
  json: Options.boolean("json").pipe(
    Options.withDescription(
      "Print answer, finish reason, usage and receipt as one JSON object, or with --stream a line for each part"
    )
  ),
  receipts: recorded,
  prices: priced,
  embedded: Options.boolean("embedded").pipe(
    Options.withDescription("Ask the embedded provider: it needs no key and no network, and only repeats the prompt")
  )
}

/**
 * What `ask` was given, as text; `Ask.run` gives it its meaning.
 *
 * @since 0.1.0
 * @category models
 */
export type AskInput = Command.Command.ParseConfig<typeof askConfig>

const explainConfig = {
  failure: Args.text({ name: "failure" }).pipe(
    Args.withDescription("A failure by its name, such as RateLimited; without one and without flags, all of them"),
    Args.optional
  ),
  status: setting("status", "number", "The HTTP status of the response to explain"),
  header: Options.text("header").pipe(
    Options.withPseudoName("name: value"),
    Options.withDescription("A header of the response; may be repeated"),
    Options.repeated
  ),
  body: setting("body", "text", "The body of the response; - reads it from standard input"),
  provider: setting("provider", "name", `Whose response it is (openai): ${Providers.described.join(", ")}`),
  model: setting("model", "name", "The model that was asked, for the message"),
  json: Options.boolean("json").pipe(Options.withDescription("Print it as JSON"))
}

/**
 * What `explain` was given, as text; `Explain.run` gives it its meaning.
 *
 * @since 0.1.0
 * @category models
 */
export type ExplainInput = Command.Command.ParseConfig<typeof explainConfig>

const demoConfig = {
  receipts: recorded,
  prices: setting("prices", "file", "A JSON table of what a million tokens of each model cost (example prices)")
}

/**
 * What `demo` was given, as text.
 *
 * @since 0.1.0
 * @category models
 */
export type DemoInput = Command.Command.ParseConfig<typeof demoConfig>

const reportConfig = {
  file: Args.text({ name: "file" }).pipe(
    Args.withDescription("Receipts as JSON, one a line, as --receipts writes them; - reads them from standard input")
  ),
  out: Options.text("out").pipe(
    Options.withAlias("o"),
    Options.withPseudoName("file"),
    Options.withDescription("The page to write, in place of what is there (report.html); - writes to standard output"),
    Options.withDefault("report.html")
  ),
  prices: setting(
    "prices",
    "file",
    "A JSON table of what a million tokens of each model cost, for receipts that have tokens but no cost"
  )
}

/**
 * What `report` was given, as text; `Report.run` gives it its meaning.
 *
 * @since 0.1.0
 * @category models
 */
export type ReportInput = Command.Command.ParseConfig<typeof reportConfig>

/**
 * What to do.
 *
 * @since 0.1.0
 * @category models
 */
export type Request =
  | { readonly _tag: "Demo"; readonly input: DemoInput }
  | { readonly _tag: "Ask"; readonly input: AskInput }
  | { readonly _tag: "Explain"; readonly input: ExplainInput }
  | { readonly _tag: "Report"; readonly input: ReportInput }
  | { readonly _tag: "Help"; readonly page: Help.Page }
  | { readonly _tag: "Version" }

const ask = Command.make("ask", askConfig).pipe(Command.withDescription(
  "Asks a model. The answer goes to standard output, the receipt to standard error. The provider's key, " +
    "and its address where that is not the usual one, come from the environment."
))

const explain = Command.make("explain", explainConfig).pipe(Command.withDescription(
  "Says what a failed response is, whether another try or another model would help, how long to wait, and what the " +
    "retries and fallbacks make of it. Nothing is sent."
))

const demo = Command.make("demo", demoConfig).pipe(Command.withDescription(
  "Calls that go wrong and what becomes of them, in about ten seconds: no key, no network."
))

const report = Command.make("report", reportConfig).pipe(Command.withDescription(
  "Makes one HTML page of a file of receipts: how calls ended, how long they took, what they cost, and the worst of them. " +
    "Nothing is sent, and the page loads nothing."
))

interface Entry {
  readonly name: string
  readonly spec: Arguments.Spec
  readonly doc: HelpDoc.HelpDoc
  readonly examples: ReadonlyArray<string>
  /** What its page lists besides its arguments and flags. */
  readonly sections: Help.Page["sections"]
  readonly parse: (words: ReadonlyArray<string>) => Effect.Effect<Request, UsageError>
}

const providers: ReadonlyArray<Help.Entry> = Object.values(Providers.askable).map(({ keys, name, url }) => ({
  label: name,
  about: [keys.length === 0 ? "no key" : keys.join(" or "), url].join("; ")
}))

const commands: ReadonlyArray<Entry> = [
  {
    name: "demo",
    spec: Arguments.fromUsage(Command.getUsage(demo)),
    doc: Command.getHelp(demo, CliConfig.defaultConfig),
    examples: [],
    sections: [],
    parse: (words) => parsed(demo, words, (input): Request => ({ _tag: "Demo", input }))
  },
  {
    name: "ask",
    spec: Arguments.fromUsage(Command.getUsage(ask)),
    doc: Command.getHelp(ask, CliConfig.defaultConfig),
    examples: [
      `${program} ask "Hello" --fallback openai/gpt-4o-mini`,
      `${program} ask - --json --timeout 20s < question.txt`,
      `${program} ask "Hello" --stream --when-cut restart`,
      `${program} ask "Hello" --prices prices.json`,
      `${program} ask "Hello" --embedded`
    ],
    sections: [{ title: "Providers, and the variables of their keys and addresses", entries: providers }],
    parse: (words) => parsed(ask, words, (input): Request => ({ _tag: "Ask", input }))
  },
  {
    name: "explain",
    spec: Arguments.fromUsage(Command.getUsage(explain)),
    doc: Command.getHelp(explain, CliConfig.defaultConfig),
    examples: [
      `${program} explain`,
      `${program} explain RateLimited`,
      `${program} explain --status 429 --header 'retry-after: 20'`,
      `${program} explain --status 529 --provider anthropic --body -`
    ],
    sections: [],
    parse: (words) => parsed(explain, words, (input): Request => ({ _tag: "Explain", input }))
  },
  {
    name: "report",
    spec: Arguments.fromUsage(Command.getUsage(report)),
    doc: Command.getHelp(report, CliConfig.defaultConfig),
    examples: [
      `${program} demo --receipts receipts.jsonl`,
      `${program} report receipts.jsonl`,
      `${program} report receipts.jsonl --prices prices.json`,
      `${program} report - --out - < receipts.jsonl > page.html`
    ],
    sections: [],
    parse: (words) => parsed(report, words, (input): Request => ({ _tag: "Report", input }))
  }
]

/** Runs the parser of `@effect/cli` and nothing else of it. */
const parsed = <Name extends string, A>(
  command: Command.Command<Name, never, never, A>,
  words: ReadonlyArray<string>,
  request: (input: A) => Request
): Effect.Effect<Request, UsageError> =>
  Effect.gen(function*() {
    let result: Request | undefined
    const handled = Command.withHandler(command, (input) =>
      Effect.sync(() => {
        result = request(input)
      }))
    yield* Command.run(handled, { name: program, version: "" })(["", "", ...words]).pipe(
      Effect.provide(NodeContext.layer),
      Effect.mapError((error) => new UsageError({ line: refusal(error) }))
    )
    return result ?? (yield* new UsageError({ line: "the command line could not be read" }))
  })

const refusal = (error: ValidationError.ValidationError): string => Help.description(error.error)

const version: Help.Entry = { label: "--version", about: "Print the version" }
const help: Help.Entry = { label: "-h, --help", about: "Print this page" }

const pageOf = ({ doc, examples, name, sections, spec }: Entry): Help.Page => {
  const entries = Help.entries(doc)
  const flags = entries.filter(({ label }) => spec.flags.some(({ names }) => label.startsWith(names.join(", "))))
  const args = entries.filter(({ label }) => label.startsWith("<"))
  const named = ({ label }: Help.Entry) =>
    spec.optional.includes(label.slice(1, -1)) ? `[${label.slice(1, -1)}]` : label
  return {
    usage: [program, name, ...args.map(named), ...(flags.length === 0 ? [] : ["[flags]"])].join(" "),
    description: Help.description(doc),
    sections: [
      ...(args.length === 0 ? [] : [{ title: "Arguments", entries: args }]),
      { title: "Flags", entries: [...flags, help, version] },
      ...sections
    ],
    examples
  }
}

const rootPage: Help.Page = {
  usage: `${program} <command> [flags]`,
  description: "Calls to language models that survive rate limits, timeouts and outages.",
  sections: [
    { title: "Commands", entries: commands.map(({ doc, name }) => ({ label: name, about: Help.description(doc) })) },
    { title: "Flags", entries: [help, version] }
  ],
  examples: [`${program} demo`, `${program} ask --help`]
}

const rootFlags: Arguments.Spec = { flags: [], names: ["command"], optional: [] }

/**
 * What the words of a command line ask for. No words at all ask for help. It fails with one line that says what is wrong.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (argv: ReadonlyArray<string>): Effect.Effect<Request, UsageError> => {
  const [name, ...words] = argv
  const command = commands.find((entry) => entry.name === name)
  const page = command === undefined ? rootPage : pageOf(command)
  const read = command === undefined
    ? Arguments.read(rootFlags, name === undefined ? ["--help"] : [name])
    : Arguments.read(command.spec, words)
  if (Either.isLeft(read)) {
    const where = command === undefined ? program : `${program} ${command.name}`
    return new UsageError({ line: `${read.left} (see ${where} --help)` })
  }
  switch (read.right._tag) {
    case "Help":
      return Effect.succeed({ _tag: "Help", page })
    case "Version":
      return Effect.succeed({ _tag: "Version" })
    case "Words":
      return command === undefined
        ? new UsageError({ line: Arguments.unknown("command", name ?? "", commands.map((entry) => entry.name)) })
        : command.parse(read.right.words)
  }
}
