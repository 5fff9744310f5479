/** The data of an image or a file as the address that both APIs take in its place. */
export const dataUrl = ({ data, mediaType }: { readonly data: string; readonly mediaType: string }): string =>
  `data:${mediaType};base64,${data}`
