/** What the layers of all providers take from the configuration. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { InvalidOption } from "perdure/InvalidOption"
import * as LlmProvider from "perdure/LlmProvider"
import * as Check from "./options.ts"

/** The key in a variable, without the blanks around it; `blank` is the failure of one that holds nothing else. */
export const keyFrom = (variable: string, blank?: ConfigError.ConfigError): Config.Config<Redacted.Redacted> => {
  const invalid = ConfigError.InvalidData([variable], `Expected ${Check.keyAllowed}`)
  return Config.redacted(variable).pipe(
    Config.mapOrFail((redacted) => {
      const key = Redacted.value(redacted).trim()
      if (key === "") return Either.left(blank ?? invalid)
      return Check.isKey(key) ? Either.right(Redacted.make(key)) : Either.left(invalid)
    })
  )
}

/** The base URL in a variable. A blank variable is as good as none. */
export const baseUrlFrom = (variable: string, fallback: string): Config.Config<URL> =>
  Config.string(variable).pipe(
    Config.withDefault(""),
    Config.mapOrFail((value) =>
      Either.fromNullable(
        Check.baseUrl(value.trim() === "" ? fallback : value),
        () => ConfigError.InvalidData([variable], `Expected ${Check.baseUrlAllowed}`)
      )
    )
  )

/** A layer with options from the configuration: what is out of range is a `ConfigError`. */
export const fromConfig = <Options, R>(
  config: Config.Config<Options>,
  make: (options: Options) => Effect.Effect<LlmProvider.Service, ConfigError.ConfigError, R>
): Layer.Layer<LlmProvider.LlmProvider, ConfigError.ConfigError, R> =>
  Layer.effect(
    LlmProvider.LlmProvider,
    Effect.flatMap(config, (options) => {
      try {
        return make(options)
      } catch (thrown) {
        if (!(thrown instanceof InvalidOption)) throw thrown
        return Effect.fail(ConfigError.InvalidData([], `Expected ${thrown.allowed} as ${thrown.option}`))
      }
    })
  )
