import { redact } from "../src/internal/redact.ts"
for (const s of [
"Incorrect API key provided: sk-ab***********************xyz. You can find your API key at https://platform.openai.com/account/api-keys.",
"You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field",
"max_tokens: 200", "token limit", "the key idea is", "either-or-something", "You are on the basic plan", "Basic usage", "basic authentication failed", "Authorization: Basic dXNlcjpwYXNzd29yZA==",
'{"x-api-key":"abcdef123456"}', "OPENAI_API_KEY=abcdefg", "Authorization: Bearer supersecretkey", '"Authorization": "Bearer abc.def"', "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef", "https://x/y?key=AIzaSyA1234567890abcdef&alt=sse",
"hf_hub_download", "hf_abcdefghijklmnopqrst", "sk-learn", "task-oriented", "risk_assessment", "pk_column", "API key: required", "bearer token is missing", "basic GPT-4o", "basic Understanding of", "Basic dXNlcjpwYXNz", "authorization: required", "The input token count (30000) exceeds the maximum number of tokens allowed (8192).", "api_key is missing", "disk-based storage", "ask-and-answer", "sk-proj-*****abcd", "sk-scikit", "Bearer\nabcd1234"
]) console.log(redact(s))
