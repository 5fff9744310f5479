/** Checks that a provider's options pass through when it is built. A refused value that may hold a secret is not shown. */
import { InvalidOption } from "perdure/InvalidOption"
import * as LlmError from "perdure/LlmError"
import * as Options from "perdure/Options"
import { type Checked, defaults, type Timeouts } from "./timeouts.ts"

const refuse = (option: string, value: string, allowed: string): never => {
  throw new InvalidOption({ option, value, allowed })
}

const hidden = "<redacted>"

// Clients throw on anything else, and some of them print the value when they do.
const visible = /^[\x21-\x7e]+$/
const headerName = /^[\w!#$%&'*+.^`|~-]+$/
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

/** Whether a key can be sent: visible ASCII, without a blank or a line end. */
export const isKey = (value: string): boolean => visible.test(value)

/** What {@link isKey} allows, in words. */
export const keyAllowed = "visible ASCII characters, at least one"

/** A key, given by the program. */
export const key = (option: string, value: string): string => isKey(value) ? value : refuse(option, hidden, keyAllowed)

/** Text for a header of its own. */
export const header = (option: string, value: string): string =>
  typeof value === "string" && value !== "" && headerValue.test(value)
    ? value
    : refuse(option, hidden, "text without control characters")

/** Header names and values, the names in lower case. */
export const headers = (option: string, values: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      headerName.test(name) ? name.toLowerCase() : refuse(option, JSON.stringify(name), "HTTP header names"),
      header(`${option}[${JSON.stringify(name)}]`, value)
    ])
  )

/** An address that paths can be added to, or nothing when it is not one. */
export const baseUrl = (value: string): URL | undefined => {
  let url: URL
  try {
    url = new URL(value.trim())
  } catch {
    return undefined
  }
  if ((url.protocol !== "http:" && url.protocol !== "https:") || url.username !== "" || url.password !== "") {
    return undefined
  }
  url.pathname = url.pathname.replace(/\/+$/, "")
  url.hash = ""
  return url
}

/** What {@link baseUrl} allows, in words. */
export const baseUrlAllowed = "an http or https URL without a user name and password"

/** An address, given by the program. */
export const address = (option: string, value: string): URL =>
  (typeof value === "string" ? baseUrl(value) : undefined) ??
    refuse(option, String(value).includes("@") ? hidden : LlmError.detail(String(value)), baseUrlAllowed)

/** Time limits, with the defaults for those that are not given. */
export const timeouts = (option: string, given: Timeouts = {}): Checked => {
  const limit = (name: keyof Timeouts) => {
    const value = given[name]
    return value === undefined ? defaults[name] : Options.duration(`${option}.${name}`, value)
  }
  return { headers: limit("headers"), firstOutput: limit("firstOutput"), idle: limit("idle") }
}
