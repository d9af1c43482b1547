// Stand-in, not Apple's: a "photo" is a line of JSON properties and raw bytes, four a pixel. Enough
// to run the Kit's own code on; it says nothing of JPEG or HEIC.
@_exported import CoreGraphics

public final class CGImageSource {
    let properties: [String: Any]
    let pixels: Data

    init?(_ url: URL) {
        guard let file = try? Data(contentsOf: url), let end = file.firstIndex(of: 10),
            let header = try? JSONSerialization.jsonObject(with: file[..<end]) as? [String: Any]
        else { return nil }
        properties = header
        pixels = file[(end + 1)...]
    }
}

public final class CGImageDestination {
    let url: URL
    let type: String
    var file = Data()

    init(_ url: URL, _ type: String) {
        self.url = url
        self.type = type
    }
}

public let kCGImageSourceShouldCache: CFString = "kCGImageSourceShouldCache"
public let kCGImagePropertyPixelWidth: CFString = "PixelWidth"
public let kCGImagePropertyPixelHeight: CFString = "PixelHeight"
public let kCGImagePropertyOrientation: CFString = "Orientation"
public let kCGImagePropertyDepth: CFString = "Depth"
public let kCGImagePropertyGPSDictionary: CFString = "{GPS}"
public let kCGImageDestinationLossyCompressionQuality: CFString = "LossyCompressionQuality"
public let kCGImageDestinationEmbedThumbnail: CFString = "EmbedThumbnail"

public func CGImageSourceCreateWithURL(_ url: CFURL, _ options: CFDictionary?) -> CGImageSource? {
    CGImageSource(url)
}
public func CGImageSourceGetCount(_ source: CGImageSource) -> Int { 1 }
public func CGImageSourceGetPrimaryImageIndex(_ source: CGImageSource) -> Int { 0 }
public func CGImageSourceGetType(_ source: CGImageSource) -> CFString? {
    source.properties["type"] as? String
}
public func CGImageSourceCopyPropertiesAtIndex(
    _ source: CGImageSource, _ index: Int, _ options: CFDictionary?
) -> Any? { source.properties }
public func CGImageSourceCreateImageAtIndex(
    _ source: CGImageSource, _ index: Int, _ options: CFDictionary?
) -> CGImage? {
    guard let width = source.properties["PixelWidth"] as? Int,
        let height = source.properties["PixelHeight"] as? Int,
        let space = CGColorSpace(name: CGColorSpace.displayP3),
        let provider = CGDataProvider(data: source.pixels)
    else { return nil }
    let hasAlpha = source.properties["alpha"] as? Bool ?? false
    let alpha: CGImageAlphaInfo = hasAlpha ? .premultipliedLast : .noneSkipLast
    return CGImage(
        width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 32,
        bytesPerRow: 4 * width, space: space, bitmapInfo: CGBitmapInfo(rawValue: alpha.rawValue),
        provider: provider, decode: nil, shouldInterpolate: false, intent: .defaultIntent)
}
public func CGImageDestinationCreateWithURL(
    _ url: CFURL, _ type: CFString, _ count: Int, _ options: CFDictionary?
) -> CGImageDestination? { CGImageDestination(url, type) }
public func CGImageDestinationAddImage(
    _ destination: CGImageDestination, _ image: CGImage, _ properties: CFDictionary?
) {
    var header = properties ?? [:]
    header["type"] = destination.type
    header["PixelWidth"] = image.width
    header["PixelHeight"] = image.height
    header["space"] = image.colorSpace?.name
    destination.file = (try? JSONSerialization.data(withJSONObject: header)) ?? Data()
    destination.file.append(10)
    destination.file.append(contentsOf: image.bytes)
}
public func CGImageDestinationFinalize(_ destination: CGImageDestination) -> Bool {
    (try? destination.file.write(to: destination.url)) != nil
}
