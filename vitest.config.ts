import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "docs/test/**/*.test.ts"],
    maxWorkers: "100%",
    // A property of ten thousand runs takes its time on a busy machine.
    testTimeout: 30_000
  }
})
