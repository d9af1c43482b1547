import CoreGraphics
import Foundation
import ImageIO
import RIDCore

/// Writes a protected photo with the metadata of its original.
public enum PhotoWriter {
    /// Of JPEG and HEIC. A lower one would blur the perturbation.
    public static let quality = 0.95

    /// Writes the file as a whole or not at all.
    ///
    /// - Parameters:
    ///   - photo: protected pixels, as stored.
    ///   - original: gives orientation, EXIF, maker's notes, and the location if that is kept.
    ///   - target: replaced if it exists.
    ///   - format: PNG keeps the exact values, JPEG and HEIC add their own small error.
    /// - Throws: `RIDError.photoNotWritten`.
    public static func write(
        _ photo: inout DecodedPhoto, like original: PhotoFile, keepsLocation: Bool,
        as format: PhotoFormat, to target: URL
    ) throws {
        var properties = try original.properties(keepsLocation: keepsLocation)
        properties[kCGImageDestinationLossyCompressionQuality as String] = quality
        properties[kCGImageDestinationEmbedThumbnail as String] = false
        let fresh = target.deletingLastPathComponent()
            .appendingPathComponent(".\(UUID().uuidString).\(format.fileExtension)")
        defer { try? FileManager.default.removeItem(at: fresh) }
        guard
            let destination = CGImageDestinationCreateWithURL(
                fresh as CFURL, format.type.identifier as CFString, 1, nil)
        else {
            throw RIDError.photoNotWritten("this device cannot write \(format.rawValue) files")
        }
        let written = try photo.withImage { image in
            CGImageDestinationAddImage(destination, image, properties as CFDictionary)
            return CGImageDestinationFinalize(destination)
        }
        guard written else {
            throw RIDError.photoNotWritten("there may be no space left on this device")
        }
        do {
            if FileManager.default.fileExists(atPath: target.path) {
                try FileManager.default.removeItem(at: target)
            }
            try FileManager.default.moveItem(at: fresh, to: target)
        } catch {
            throw RIDError.photoNotWritten(error.localizedDescription)
        }
    }
}
